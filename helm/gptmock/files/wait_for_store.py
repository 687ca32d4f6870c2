"""For the login Job: waits until the store answers, for at most ten minutes."""

import subprocess
import sys
import time

deadline = time.monotonic() + 600
while True:
    asked = subprocess.run(["gptmock", "accounts", "list", "--json"], capture_output=True, text=True, check=False)
    if asked.returncode == 0:
        break
    print(asked.stderr.strip(), flush=True)
    if asked.returncode == 2:
        sys.exit("The settings are wrong.")
    if time.monotonic() > deadline:
        sys.exit("The store does not answer: see its pod.")
    time.sleep(2)
print("The store answers.")
