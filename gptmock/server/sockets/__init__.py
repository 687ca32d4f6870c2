"""``GET /v1/responses`` as WebSocket: turns of the Responses dialect over one connection."""
