"""Images, audio and PDFs: to Langfuse as its media, to the local store as type and size."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any

import pytest
from collector import Collector, MediaCollector
from pocketflow import BatchNode, Flow, Node

from pocketflow_tracing import TracingConfig, _media, flush, trace_flow
from pocketflow_tracing.sinks import media as media_sink
from pocketflow_tracing.store import Store

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
PDF = b"%PDF-1.7\n" + b"a page\n" * 50
WAV = b"RIFF\x24\x08\0\0WAVEfmt " + bytes(2000)


def uri(content: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(media_sink, "_PAUSE", 0.01)
    with MediaCollector() as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield server


class Look(Node):
    def prep(self, shared: Any) -> Any:
        return shared["image"]

    def exec(self, image: Any) -> Any:
        return {"seen": image}

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["report"] = PDF


def run(shared: dict[str, Any], **settings: Any) -> bool:
    trace_flow(config=TracingConfig(**settings))(Flow(start=Look())).run(shared)
    return flush(timeout=10)


def flush_all() -> None:
    """Flush until nothing waits any more: one that cannot be sent ends each."""
    deadline = time.monotonic() + 30
    while not flush(timeout=10):
        assert time.monotonic() < deadline


def attribute(server: Collector, span: str, name: str) -> Any:
    (found,) = [seen for seen in server.spans() if seen.name == span]
    value = found.attributes[f"langfuse.observation.{name}"]
    try:
        return json.loads(value)
    except ValueError:
        return value


def reference(content: bytes, mime: str, source: str) -> str:
    name = base64.b64encode(hashlib.sha256(content).digest()).decode().replace("+", "-").replace("/", "_")[:22]
    return f"@@@langfuseMedia:type={mime}|id={name}|source={source}@@@"


def test_the_form_is_that_of_the_sdk():
    """Ids and reference strings are those of `langfuse.media.LangfuseMedia`."""
    from langfuse.media import LangfuseMedia

    ours = _media.medium(PNG, "image/png")
    theirs = LangfuseMedia(content_bytes=PNG, content_type="image/png")
    assert (theirs._media_id, theirs._content_sha256_hash) == (ours.id, ours.hash)
    assert theirs._reference_string == ours.reference
    text = uri(WAV, "audio/wav")
    assert LangfuseMedia(base64_data_uri=text)._reference_string == _media.medium(text, "audio/wav").reference
    assert theirs._reference_string == reference(PNG, "image/png", "bytes")


def test_media_are_sent(server: MediaCollector):
    """Bytes and data URIs stand as references in every field, and each content is uploaded once."""
    text = uri(WAV, "audio/wav")
    assert run({"image": PNG, "messages": [{"image_url": {"url": text}}]})
    image, sound = reference(PNG, "image/png", "bytes"), reference(WAV, "audio/wav", "base64_data_uri")
    assert {"image": image, "messages": [{"image_url": {"url": sound}}]} == attribute(server, "Flow", "input")
    assert image == attribute(server, "Look.exec", "input")
    assert {"seen": image} == attribute(server, "Look.exec", "output")
    assert {"report": reference(PDF, "application/pdf", "bytes")} == attribute(server, "Look", "output")["shared"][
        "added"
    ]
    assert sorted([PNG, PDF, WAV]) == sorted(server.stored.values())
    assert {"Flow", "Look", "Look.prep", "Look.exec", "Look.post"} >= {
        seen.name for seen in server.spans() if any(asked["observationId"] == seen.span_id for asked in server.asked)
    }
    assert {"input", "output"} == {asked["field"] for asked in server.asked}
    assert {200} == {patch["uploadHttpStatus"] for _, patch in server.patched}
    assert len(PNG) in {asked["contentLength"] for asked in server.asked}


def test_the_storage_gets_no_credentials(server: MediaCollector):
    """The upload goes to an address of someone else: it carries the checksum and no keys."""
    assert run({"image": PNG})
    assert server.put_headers
    for headers in server.put_headers:
        assert "authorization" not in headers
        assert "x-amz-checksum-sha256" in headers


def test_the_local_store_gets_a_summary(server: MediaCollector, store_path):
    """Type and size stand in the store, never the content."""
    run({"image": PNG, "uri": uri(PDF, "application/pdf")})
    store = Store(store_path)
    root = store.spans(store.run("last").run_id)[0]
    assert {"image", "mime", "size"} | {"__type__", "id"} >= set(root.input["image"])
    assert ("image", "image/png", len(PNG)) == tuple(root.input["image"][key] for key in ("__type__", "mime", "size"))
    assert ("pdf", "application/pdf", len(PDF)) == tuple(root.input["uri"][key] for key in ("__type__", "mime", "size"))
    assert base64.b64encode(PDF)[:40] not in store_path.read_bytes()


@pytest.mark.parametrize("settings", [{"media": False}, {"media_max_mb": 0.001}])
def test_switched_off_or_too_large(server: MediaCollector, settings):
    """Without media, or beyond the limit, there is a summary, and nothing is asked of the server."""
    assert run({"image": PNG}, **settings)
    assert {"__type__": "image", "mime": "image/png", "size": len(PNG)} == attribute(server, "Look.exec", "input")
    assert PNG not in server.stored.values()


@pytest.mark.parametrize("held", [bytes, str])
def test_the_limit_is_one_of_bytes(server: MediaCollector, held):
    """Base64 is a third longer than what it holds."""
    document = PDF + bytes(100_000)
    shown = document if held is bytes else uri(document, "application/pdf")
    assert run({"image": shown}, media_max_mb=0.11)
    assert document in server.stored.values()


@pytest.mark.parametrize("fails", [{"POST": 404}, {"POST": 500}, {"PUT": 403}, {"PUT": 503}])
def test_a_failure_never_holds_up_spans(server: MediaCollector, caplog, fails):
    """Spans arrive whatever becomes of the media; it is said once, the next ones stay summaries, and each flush tells."""
    server.fails = fails
    assert not run({"image": PNG})
    assert 5 == len(server.spans())
    assert 1 == sum("other media by type and size" in line for line in caplog.messages)
    flush_all()
    server.clear()
    assert not run({"image": PNG})
    assert "image" == attribute(server, "Look.exec", "input")["__type__"]
    if "PUT" in fails:
        assert {fails["PUT"]} == {patch["uploadHttpStatus"] for _, patch in server.patched}


@pytest.mark.parametrize("fails", [{"POST": 400}, {"PUT": 413}])
def test_what_one_medium_is_refused_for_says_nothing_of_others(server: MediaCollector, fails):
    """It is missing, and the next one is sent."""
    server.fails = fails
    assert not run({"image": PNG})
    server.fails = {}
    flush_all()
    other = PNG + b"another"
    assert run({"image": other})
    assert other in server.stored.values()


@pytest.mark.parametrize("fails", [{"PUT": 400}, {"PUT": 503}])
def test_what_could_not_be_stored_once_is_sent_again(server: MediaCollector, fails, monkeypatch):
    """It is in several spans, none of which may take it for sent."""
    monkeypatch.setattr(media_sink, "_BLOCKED", 0.0)
    server.fails = fails
    assert not run({"image": PNG})
    flush_all()
    server.fails = {}
    assert run({"image": PNG})
    assert PNG in server.stored.values()


def test_a_medium_that_the_server_has_lost_is_told(server: MediaCollector):
    """It asks for it again, which is not there any more; the time after that it is sent."""
    assert run({"image": PNG})
    server.stored.clear()
    assert not run({"image": PNG})
    flush_all()
    assert run({"image": PNG})
    assert PNG in server.stored.values()


def test_what_many_spans_show_is_decoded_and_sent_once(server: MediaCollector, monkeypatch):
    """Questions about one document: none of them makes a copy of it, and it is no more than one of what waits."""
    decoded = []
    original = _media._decoded
    monkeypatch.setattr(_media, "_decoded", lambda text: decoded.append(text) or original(text))
    document = PDF + bytes(100_000)
    monkeypatch.setattr(media_sink, "_MAX_WAITING", 3 * len(document))

    class Questions(BatchNode):
        def prep(self, shared: Any) -> Any:
            return [{"document": shared["document"], "number": number} for number in range(50)]

        def exec(self, question: Any) -> Any:
            return question["number"]

    trace_flow(Flow(start=Questions())).run({"document": uri(document, "application/pdf")})
    assert flush(20)
    assert len(decoded) <= 5  # once a batch of the worker's
    assert [document] == list(server.stored.values())
    items = [span for span in server.spans() if span.name.startswith("Questions.exec[")]
    text = reference(document, "application/pdf", "base64_data_uri")
    assert 50 == sum(text in span.attributes["langfuse.observation.input"] for span in items)


def test_a_flush_waits_for_one_failure_and_not_for_each(server: MediaCollector):
    """Where the server takes no media, each that waits would be tried three times, with pauses, and a flush stand for all of them."""
    server.fails = {"POST": 503}
    images = {"image": PNG, **{str(number): PNG[:-2] + number.to_bytes(2, "big") for number in range(20)}}
    began = time.monotonic()
    assert not run(images)
    assert time.monotonic() - began < 8
    server.fails = {}
    flush_all()
    assert len(server.stored) > 10


def test_masks_redaction_and_policy_come_first(server: MediaCollector):
    """What is hidden in any way is not uploaded."""
    shared = {"image": PNG, "api_key": uri(WAV, "audio/wav"), "private": PDF + b"private"}
    mask = lambda value, path: "gone" if isinstance(value, dict) and value.get("mime") == "image/png" else value
    assert run(shared, mask=mask, policies={"private": "hide"})
    assert [PDF] == list(server.stored.values())


def test_the_mask_of_the_users_client_comes_first(server: MediaCollector):
    """What the user's own Langfuse client masks is not uploaded either."""
    from langfuse import Langfuse
    from sdk_state import forget

    keys = {"public_key": server.public_key, "secret_key": server.secret_key, "base_url": server.url}
    Langfuse(**keys, mask=lambda data: "masked")
    try:
        run({"image": PNG})
        assert {} == server.stored
        assert "masked" == attribute(server, "Look.exec", "input")
    finally:
        forget()


@pytest.mark.parametrize(
    ("content", "mime"),
    [
        (PNG, "image/png"), (PDF, "application/pdf"), (WAV, "audio/wav"), (b"\xff\xd8\xff\xe0", "image/jpeg"), (b"GIF89a", "image/gif"),
        (b"RIFF1234WEBPVP8 ", "image/webp"), (b"ID3\x04", "audio/mpeg"), (b"OggS", "audio/ogg"), (b"fLaC", "audio/flac"),
        (b"\0\0\0\x1cftypavif", "image/avif"), (b"plain bytes", None), (b"", None), (b"BMP is a format", None),
    ],
)  # fmt: skip
def test_bytes_are_known_by_their_beginning(content, mime):
    """Images, audio and PDFs are told by their magic numbers; everything else is bytes."""
    assert mime == _media.mime_of_bytes(content)


@pytest.mark.parametrize(
    ("text", "mime"),
    [
        ("data:image/png;base64,AAAA", "image/png"), ("data:AUDIO/WAV;base64,AA", "audio/wav"), ("data:image/svg+xml,<svg/>", None),
        ("data:text/plain;base64,AAAA", None), ("data:", None), ("data: no uri", None), ("data:image/png;charset=x;base64,AA==", "image/png"),
    ],
)  # fmt: skip
def test_data_uris(text, mime):
    """Only base64 data URIs of these kinds count as media."""
    assert mime == _media.mime_of_text(text)


@pytest.mark.parametrize(
    ("text", "mime"),
    [
        (base64.b64encode(PNG).decode(), "image/png"), (base64.b64encode(PDF).decode(), "application/pdf"),
        (base64.b64encode(WAV).decode(), "audio/wav"), (base64.b64encode(b"\xff\xd8\xff\xe0" * 99).decode(), "image/jpeg"),
        ("iVBORw0KGgo", None), ("/9j/ " + "a path " * 99, None), ("UklG" + "A" * 300, None), ("data" * 99, None), ("JVBE" + "R" * 300, None),
    ],
)  # fmt: skip
def test_base64(text, mime):
    """Long base64 that begins as a medium does is one; a text that only begins so is not."""
    assert mime == _media.mime_of_text(text)


def test_base64_as_apis_take_it(server: MediaCollector, store_path):
    """The blocks of messages that hold an image or a sound without a data URI are media like any other."""
    data = base64.b64encode(PNG).decode()
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    assert run({"image": block}, store=str(store_path))
    shown = attribute(server, "Look.exec", "input")
    assert reference(PNG, "image/png", "base64_data_uri") == shown["source"]["data"]
    assert PNG in server.stored.values()
    kept = next(
        span for span in Store(store_path).spans(Store(store_path).run("last").run_id) if span.name == "Look.exec"
    )
    assert "image" == kept.input["source"]["data"]["__type__"]
    assert (len(PNG), "image/png") == (kept.input["source"]["data"]["size"], kept.input["source"]["data"]["mime"])


def test_a_broken_data_uri_is_a_summary(server: MediaCollector):
    """What cannot be decoded is not sent, and harms nothing."""
    assert run({"image": "data:image/png;base64,????"})
    assert "image" == attribute(server, "Look.exec", "input")["__type__"]


def test_only_so_much_waits(server: MediaCollector, monkeypatch, caplog):
    """Beyond the bytes that may wait, media stay summaries; that is said, and a flush is not True."""
    monkeypatch.setattr(media_sink, "_MAX_WAITING", 10)
    assert run({"image": PNG}) is False
    assert 1 == sum("more media come" in record.getMessage() for record in caplog.records)
    assert {} == server.stored
    assert "image" == attribute(server, "Look.exec", "input")["__type__"]
