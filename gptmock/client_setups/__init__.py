"""
How clients are set up to use this server: what is shown, what a client is started with, what its configuration file gets.
Values only; does not know whether a client is installed, and holds no secret.
"""
