"""
How clients are set up to use this server: texts to copy, what a client is started with, what its configuration gets.
Values only; does not know whether a client is installed, and holds no secret.
"""
