"""The HTTP layer, on Sanic: routes, requests, streaming, logs, worker processes. Never handles an access token."""
