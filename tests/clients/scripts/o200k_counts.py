"""
Counts texts as a worker with the extra ``tokens`` does. Standard input: a JSON list of texts. Standard output: for each
its tokens, its tokens when it is not cut, and the seconds of processor time that the former took.
"""

from __future__ import annotations

import json
import sys
import time

from gptmock.server.o200k import NAME, load_o200k

count = load_o200k()
if count is None:
    sys.exit("the extra is not installed")

# Below the library's own limits: it refuses a text of 1,000,000 characters and one of more than 200,000 tokens.
from bpe_openai._bindings import tokenizer_for_encoding  # noqa: E402 - only after the message above

whole = tokenizer_for_encoding(NAME)
counts = []
for text in json.load(sys.stdin):
    began = time.process_time()
    tokens = count(text)
    counts.append({"tokens": tokens, "seconds": time.process_time() - began, "whole": whole.count(text)})
json.dump(counts, sys.stdout)
