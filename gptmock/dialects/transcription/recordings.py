"""Recognises recordings by their first bytes, whatever their name and content type say. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecordingKind:
    """What a recording is."""

    suffix: str
    """Of a file name."""
    content_type: str


_MP3 = RecordingKind("mp3", "audio/mpeg")
_MP4 = RecordingKind("m4a", "audio/mp4")
_WAV = RecordingKind("wav", "audio/wav")
_WEBM = RecordingKind("webm", "audio/webm")
_OGG = RecordingKind("ogg", "audio/ogg")
_FLAC = RecordingKind("flac", "audio/flac")
_SYNC = 0xE0
"""The eleven set bits that begin a frame of MPEG audio; ID3 tags may stand before it."""


def kind_of(data: bytes) -> RecordingKind | None:
    """The kind of a recording; ``None`` if it is none that is taken."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return _WAV
    if data[4:8] == b"ftyp":
        return _MP4
    for magic, kind in ((b"ID3", _MP3), (b"OggS", _OGG), (b"fLaC", _FLAC), (b"\x1a\x45\xdf\xa3", _WEBM)):
        if data.startswith(magic):
            return kind
    # The two bits behind the version are the layer, which is never 0.
    is_frame = len(data) > 1 and data[0] == 0xFF and data[1] & _SYNC == _SYNC and data[1] & 0x06
    return _MP3 if is_frame else None
