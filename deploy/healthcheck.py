"""The image's health check: a worker answers /health, at the port and in the scheme that the server was given."""

import os
import ssl
import sys
import urllib.error
import urllib.request

scheme = "https" if os.environ.get("GPTMOCK_TLS_CERT") else "http"
port = os.environ.get("GPTMOCK_PORT") or "8000"
prefix = (os.environ.get("GPTMOCK_BASE_PATH") or "").strip("/")
url = f"{scheme}://127.0.0.1:{port}/{prefix}/health".replace("//health", "/health")
# The certificate is for the public name. No proxy: the server is this machine.
context = ssl._create_unverified_context()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
try:
    opener.open(url, timeout=4).read()
except (OSError, urllib.error.HTTPError) as error:
    sys.exit(f"{url}: {error}")
