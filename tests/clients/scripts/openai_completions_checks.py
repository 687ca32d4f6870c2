"""
The official openai library at the legacy completions. Numbers are those of the conformance checks (client contracts,
section 8).
"""

from __future__ import annotations

from typing import Any

import openai
from checking import GREETING, MODEL, UNKNOWN_MODEL, Bench, main
from openai import OpenAI
from openai.types import Completion


def opened(bench: Bench) -> OpenAI:
    """A client that gives up at once."""
    return OpenAI(base_url=bench.base_url, api_key=bench.api_key, max_retries=0, timeout=30)


def ask(bench: Bench, prompt: Any, **parameters: Any) -> Completion:
    """One collected answer, seen to be what the library's own types say: it does not look itself."""
    answer = opened(bench).completions.with_raw_response.create(**{"model": MODEL, "prompt": prompt, **parameters})
    Completion.model_validate_json(answer.http_response.content, strict=True)
    return answer.parse()


def streamed(bench: Bench, prompt: Any, **parameters: Any) -> list[Completion]:
    """All chunks of one streamed answer."""
    with opened(bench).completions.create(**{"model": MODEL, "prompt": prompt, "stream": True, **parameters}) as stream:
        return list(stream)


def refused(bench: Bench, prompt: Any, **parameters: Any) -> str | None:
    """The parameter that a 400 names."""
    try:
        answer = ask(bench, prompt, **parameters)
    except openai.BadRequestError as error:
        return error.param
    raise AssertionError(f"no error but {answer!r:.200}")


def check_one_prompt(bench: Bench) -> None:
    """100: as a string, and as a list of one."""
    for prompt in ("scene:text", ["scene:text"]):
        completion = ask(bench, prompt)
        assert completion.object == "text_completion"
        assert completion.id.startswith("cmpl-")
        (choice,) = completion.choices
        assert (choice.text, choice.index, choice.finish_reason) == (GREETING, 0, "stop")
        assert completion.usage is not None
        assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


def check_many_prompts(bench: Bench) -> None:
    """100: one choice for each, at its place."""
    prompts = ["number 0", "number 1", "number 2"]
    completion = ask(bench, prompts)
    assert sorted((choice.index, choice.text) for choice in completion.choices) == [
        (index, f"You said: {prompt}") for index, prompt in enumerate(prompts)
    ]
    texts = dict.fromkeys(range(3), "")
    for chunk in streamed(bench, prompts):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert list(texts.values()) == [f"You said: {prompt}" for prompt in prompts]


def check_stream(bench: Bench) -> None:
    """100: the same name of the object in every chunk, and usage at the end."""
    chunks = streamed(bench, "scene:text", stream_options={"include_usage": True})
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == GREETING
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None


def check_parameters(bench: Bench) -> None:
    """101: echo and suffix are done; what cannot be is refused."""
    assert ask(bench, "Say it: ", echo=True).choices[0].text.startswith("Say it: ")
    text = "".join(chunk.choices[0].text for chunk in streamed(bench, "Say it: ", echo=True) if chunk.choices)
    assert text.startswith("Say it: ")
    ask(bench, "def add(a, b):", suffix="    return c")
    assert "    return c" in str(bench.bodies()[-1]["input"])
    assert ask(bench, "scene:text", extra_body={"logprobs": None}).choices[0].text == GREETING
    assert refused(bench, "hi", best_of=2) == "best_of"
    assert refused(bench, "hi", n=2) == "n"
    assert refused(bench, [1, 2, 3]) == "prompt"
    assert refused(bench, [[1, 2], [3]]) == "prompt"


def check_errors(bench: Bench) -> None:
    """30, 31, 82: as at every route."""
    for name in ("failed-mid", "eof-mid", "abort-mid"):
        try:
            streamed(bench, f"scene:{name}")
        except openai.APIError as error:
            code = error.code
        else:
            code = None
        assert code, name
    try:
        ask(bench, "hi", model=UNKNOWN_MODEL)
    except openai.NotFoundError as error:
        found = error.code
    else:
        found = None
    assert found == "model_not_found"


if __name__ == "__main__":
    main(globals())
