"""What is written down of the sets is what lies next to the project, byte for byte."""

from __future__ import annotations

import json

import pytest
from hostile import corpora


@pytest.mark.skipif(not corpora.DATA.exists(), reason="../shared is not here")
def test_the_sets_are_whole():
    def files(folder, suffix):
        return {path.stem: path.read_bytes() for path in (corpora.DATA / folder).glob(f"*{suffix}")}

    assert corpora.sip_requests() == files("sip-requests", ".dat")
    assert corpora.diameter_malformed() == files("diameter-malformed", ".bin")
    assert corpora.disc_captured() == files("disc-captured", ".bin")
    rows = map(json.loads, (corpora.DATA / "digest-headers.jsonl").read_text().splitlines())
    headers = {row["id"]: (row["verdict"], row["header"].encode(row["encoding"])) for row in rows}
    assert corpora.digest_headers() == headers
    answers = (corpora.DATA / "digest-known-answers.json").read_text()
    assert (corpora.VECTORS / "digest-known-answers.json").read_text() == answers
