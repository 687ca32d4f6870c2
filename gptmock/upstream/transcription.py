"""Reads the refusals of the backend's transcription, which stands behind the bot protection of the web app."""

from __future__ import annotations

from dataclasses import dataclass

from gptmock.errors import GptmockError, TranscriptionBlocked
from gptmock.upstream.refusals import RefusalReader


@dataclass(frozen=True, slots=True)
class TranscriptionRefusalReader(RefusalReader):
    """Reads the refusals of ``/transcribe``."""

    def challenged(self, error: GptmockError) -> GptmockError:  # noqa: ARG002 - the page says nothing of use
        """See ``RefusalReader.challenged``: the account is as good as before."""
        return TranscriptionBlocked(
            "The provider's bot protection has stopped this transcription. It often does so for programs; trying again "
            "does not help, and neither does another account.",
            should_retry=False,
        )
