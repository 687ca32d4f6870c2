"""
OAuth logins of a user: authorization code with PKCE (by redirect or pasted URL), and device code. Must not know where
tokens are stored.
"""
