"""For ``helm test``: the Service has a worker behind it that answers, and that refuses who has no key."""

import json
import os
import ssl
import urllib.error
import urllib.request

base_url = os.environ["BASE_URL"]
# The certificate is for the public name, not for the Service.
context = ssl._create_unverified_context() if base_url.startswith("https:") else None


def get(path):
    """The status and the body of one answer."""
    try:
        with urllib.request.urlopen(base_url + path, timeout=20, context=context) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


status, health = get("/health")
assert (status, health["status"]) == (200, "ok"), (status, health)
print("/health:", json.dumps(health))
status, ready = get("/readyz")
assert status in (200, 503), status
print("/readyz:", json.dumps(ready))
if os.environ.get("EXPECT_KEY") == "true":
    status, refusal = get("/v1/models")
    assert status == 401, (status, refusal)
    print("/v1/models without a key:", status)
