"""Clients that are not ours, and bytes that are no request, at a real socket."""

from __future__ import annotations

import asyncio
import json

import pytest

from modelyard.serving.web import guarded
from support.connections import (
    GOOD,
    Answer,
    Wire,
    amounts,
    one,
    over_the_wire,
    read_answer,
)
from support.models.toy import ROW
from support.serving_app import MakeServer, Server

BODY = json.dumps(ROW).encode()
JAVA = (
    b"POST /predict HTTP/1.1\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\n"
    b"Content-Length: %d\r\n"
    b"Host: localhost:8000\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    b"Upgrade: h2c\r\n"
    b"User-Agent: Java-http-client/17.0.15\r\n"
    b"Content-Type: application/json\r\n"
    b"\r\n%b"
) % (len(BODY), BODY)
"""What Java's HttpClient sends first, byte for byte."""
HEAD_END = JAVA.index(b"\r\n\r\n") + 4
CHUNKED = (
    b"POST /predict HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
)
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


def answers(server: Server, *pieces: bytes, number: int = 1) -> list[Answer]:
    async def work(wire: Wire) -> list[Answer]:
        return await wire.ask(*pieces, answers=number)

    return over_the_wire(server, work)


def test_javas_first_post_is_answered(server: Server):
    cuts = (1, 60, HEAD_END - 1, HEAD_END, HEAD_END + 5, len(JAVA) - 1)

    async def work(wire: Wire) -> list[Answer]:
        found = [(await wire.ask(JAVA[:cut], JAVA[cut:]))[0] for cut in cuts]
        return [*found, *(await wire.ask(JAVA))]

    found = over_the_wire(server, work)
    assert amounts(found) == [ROW["amount"]] * (len(cuts) + 1)
    assert not [answer for answer in found if b"upgrade" in answer.heads]


def test_an_unusual_upgrade_is_ignored_too(server: Server):
    chunked = JAVA.replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked")
    for sent in (
        chunked[: chunked.index(b"\r\n\r\n") + 4] + CHUNKS,
        JAVA.replace(b"h2c", b"websocket"),
        JAVA.replace(b"Upgrade, HTTP2-Settings", b"keep-alive, upgrade"),
        b"GET /livez HTTP/1.1\r\nhost: s\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    ):
        [first, second] = answers(server, sent + GOOD, number=2)
        assert (first.status, second.status) == (200, 200)


def test_a_connection_that_asked_for_another_protocol_goes_on(server: Server):
    found = answers(server, JAVA + JAVA + GOOD + JAVA * 400, number=403)
    assert amounts(found) == [ROW["amount"]] * 403


def test_close_beside_upgrade_is_kept(server: Server):
    sent = JAVA.replace(b"Connection: Upgrade", b"Connection: close, Upgrade")

    async def work(wire: Wire) -> tuple[Answer, bytes]:
        reader, writer = await wire.connect()
        writer.write(sent)
        found = await read_answer(reader), await reader.read()
        writer.close()
        return found

    answer, rest = over_the_wire(server, work)
    assert (answer.status, answer.heads[b"connection"], rest) == (200, b"close", b"")


ASKED = (
    # a body with no announced length, as Go, Node and Java's streams send it
    (CHUNKED, 200),
    (GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"), 200),
    (GOOD.replace(b"host: server\r\n", b""), 200),
    (GOOD.replace(b"POST /predict", b"POST http://server/predict"), 200),
    (GOOD.replace(b"POST /predict", b"POST http://user@server:8000/predict?a=b"), 200),
    (b"HEAD /health HTTP/1.1\r\nhost: s\r\n\r\n", 200),
    (b"OPTIONS * HTTP/1.1\r\nhost: s\r\n\r\n", 204),
    (b"OPTIONS /predict HTTP/1.1\r\nhost: s\r\n\r\n", 405),
    (b"PUT /predict HTTP/1.1\r\nhost: s\r\ncontent-length: 0\r\n\r\n", 405),
    (b"GET * HTTP/1.1\r\nhost: s\r\n\r\n", 404),
    (b"GET http://server HTTP/1.1\r\nhost: s\r\n\r\n", 400),
    (b"GET //livez HTTP/1.1\r\nhost: s\r\n\r\n", 400),
    (b"GET /livez#/admin HTTP/1.1\r\nhost: s\r\n\r\n", 400),
    (GOOD.replace(b"/predict", b"/predict#x"), 400),
    (GOOD.replace(b"host: server", b"host: server\r\nHost: other"), 400),
    (GOOD.replace(b"content-type", b"Content-Type: text/csv\r\ncontent-type"), 400),
    (GOOD.replace(b"host: server", b"host: server\r\nexpect: 100-continue\r\nexpect: x"), 400),
    (GOOD.replace(b"content-length: ", b"content-length: " + b"0" * 5000), 400),
    (b"GET /livez HTTP/1.1\r\n" + b"x: y\r\n" * 101 + b"\r\n", 431),
)


def test_each_client_gets_what_it_asked_for_or_the_reason(server: Server):
    async def work(wire: Wire) -> list[bytes]:
        found = []
        for sent, _ in ASKED:
            reader, writer = await wire.connect()
            writer.write(sent)
            found.append(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10))
            writer.close()
        return found

    for head, (sent, status) in zip(over_the_wire(server, work), ASKED, strict=True):
        assert head.startswith(b"HTTP/1.1 %d " % status), (sent[:60], head)
        assert head.lower().count(b"\r\nx-request-id: ") == 1, sent[:60]


NO_REQUEST = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS to a port that has none
    b"\x00\xff\r\n\r\n",
    b"post /predict HTTP/1.1\r\nhost: s\r\n\r\n",
    b"FETCH /livez HTTP/1.1\r\nhost: s\r\n\r\n",
    b"GET /livez HTTP/3.0\r\nhost: s\r\n\r\n",
    b"GET /li\x0avez HTTP/1.1\r\nhost: s\r\n\r\n",
    b"GET gr\xc3\xb6\xc3\x9fe HTTP/1.1\r\nhost: s\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"CONNECT example.org:443 HTTP/1.1\r\nhost: s\r\n\r\n",
    GOOD.replace(b"content-length", b"content-length : 5\r\ncontent-length"),
    GOOD.replace(b"host: server", b"host: server\r\ncontent-length: 5"),
    GOOD.replace(b"host: server", b"host: server\r\ntransfer-encoding: chunked"),
    GOOD.replace(b"host: server", b"host: server\r\ntransfer-encoding: xchunked"),
    GOOD.replace(b"content-length: ", b"content-length: +"),
    GOOD.replace(b"host: server", b"host: ser\x00ver"),
    GOOD.replace(b"host: server", b"host: server\r\n\tfolded"),
    GOOD.replace(b"host: server\r\n", b"host: server\n"),
    b"GET /livez HTTP/1.1\r\nhost: s\r\nno colon\r\n\r\n",
)


def test_what_is_no_request_is_refused_in_json_and_ends_the_connection(server: Server):
    async def work(wire: Wire) -> list[tuple[Answer, bytes]]:
        found = []
        for sent in NO_REQUEST:
            reader, writer = await wire.connect()
            writer.write(sent)
            found.append((await read_answer(reader), await asyncio.wait_for(reader.read(), 10)))
            writer.close()
        return found

    for (answer, rest), sent in zip(over_the_wire(server, work), NO_REQUEST, strict=True):
        assert (answer.status, rest) == (400, b""), sent
        assert answer.heads[b"content-type"] == b"application/problem+json"
        assert answer.heads[b"connection"] == b"close"
        assert answer.value["type"] == "urn:modelyard:problem:not-http"
        assert answer.value["instance"].encode() == answer.heads[b"x-request-id"]


@pytest.mark.parametrize("before", [GOOD, GOOD.replace(b"/predict", b"/invocations"), JAVA])
def test_garbage_never_takes_the_answer_to_what_came_before_it(server: Server, before: bytes):
    slow = b"GET /openapi.json HTTP/1.1\r\nhost: s\r\n\r\n"
    found = answers(server, slow + before + slow + b"\x00garbage", number=4)
    assert [answer.status for answer in found][::2] == [200, 200]
    assert found[3].status == 400


def test_a_head_that_does_not_come_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(guarded, "HEAD_TIMEOUT_S", 0.2)

    async def work(wire: Wire) -> list[Answer]:
        found = []
        for sent in (b"POST /", GOOD[:30], GOOD + GOOD[:30]):
            reader, writer = await wire.connect()
            writer.write(sent)
            if len(sent) > len(GOOD):
                assert (await read_answer(reader)).status == 200
            for _ in range(3):  # trickling does not help
                await asyncio.sleep(0.05)
                writer.write(b"x")
            found.append(await read_answer(reader))
            assert await reader.read() == b""
            writer.close()
        return found

    assert [answer.status for answer in over_the_wire(server, work)] == [408] * 3


def test_a_head_in_pieces_is_read_and_forgotten(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(guarded, "HEAD_TIMEOUT_S", 0.3)
    [answer] = answers(server, *(GOOD[i : i + 1] for i in range(60)), GOOD[60:])
    assert answer.status == 200

    async def work(wire: Wire) -> int:
        reader, writer = await wire.connect()
        writer.write(GOOD[:50])
        await asyncio.sleep(0.1)
        writer.write(GOOD[50:])
        assert (await read_answer(reader)).status == 200
        await asyncio.sleep(0.5)  # the first head's time is over
        writer.write(GOOD)
        status = (await read_answer(reader)).status
        writer.close()
        return status

    assert over_the_wire(server, work) == 200


def test_a_head_without_end_is_cut(server: Server):
    async def work(wire: Wire) -> Answer:
        reader, writer = await wire.connect()
        writer.write(b"GET /livez HTTP/1.1\r\nx: ")
        for _ in range(8):
            await asyncio.sleep(0.02)
            writer.write(b"y" * 10_000)
        answer = await read_answer(reader)
        writer.close()
        return answer

    assert over_the_wire(server, work).status == 431


def test_those_that_say_nothing_make_room_for_those_that_speak(server: Server):
    """The quietest go first: those that never spoke, that have spoken, that are within a head."""

    async def work(wire: Wire) -> tuple[list[bool], int]:
        ends = []
        for index in range(20):
            reader, writer = await wire.connect()
            if index % 3 == 1:
                writer.write(GOOD)
                assert (await read_answer(reader)).status == 200
            elif index % 3 == 2:
                writer.write(GOOD[:20])
            ends.append((reader, writer))
            await asyncio.sleep(0.005)
        reader, writer = await wire.connect()
        writer.write(GOOD)
        status = (await read_answer(reader)).status
        await asyncio.sleep(0.05)
        gone = [reader.at_eof() for reader, _ in ends]
        for _, writer in ends:
            writer.close()
        return gone, status

    gone, status = over_the_wire(server, work, max_connections=16)
    assert status == 200
    # two go at a time, when the 17th, the 19th and the 21st come
    assert gone == [True] * 6 + [False] * 14


def test_a_request_under_way_never_makes_room(server: Server):
    part = JAVA.replace(b"Connection: Upgrade", b"Connection: keep-alive")[:-3]

    async def work(wire: Wire) -> tuple[list[int], bytes]:
        ends = [await wire.connect() for _ in range(16)]
        for _, writer in ends:
            writer.write(part)
        await asyncio.sleep(0.1)
        reader, writer = await wire.connect()
        turned_away = await asyncio.wait_for(reader.read(), 10)
        for _, other in ends:
            other.write(JAVA[-3:])
        statuses = [(await read_answer(reader)).status for reader, _ in ends]
        for _, other in (*ends, (reader, writer)):
            other.close()
        return statuses, turned_away

    statuses, turned_away = over_the_wire(server, work, max_connections=16)
    assert (statuses, turned_away) == ([200] * 16, b"")


def test_a_client_that_never_speaks_is_closed(make_server: MakeServer):
    async def work(wire: Wire) -> bytes:
        reader, writer = await wire.connect()
        rest = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return rest

    assert over_the_wire(make_server(), work, timeout_keep_alive=1) == b""


def test_the_body_is_asked_for_where_the_client_waits_to_be_asked(server: Server):
    waiting = GOOD.replace(b"host: server", b"host: server\r\nExpect: 100-Continue")
    head, _, body = waiting.partition(b"\r\n\r\n")

    async def work(wire: Wire) -> list[int]:
        reader, writer = await wire.connect()
        writer.write(head + b"\r\n\r\n")
        interim = await read_answer(reader)
        writer.write(body)
        final = await read_answer(reader)
        # where the headers are refused, it is told so and need not send anything
        writer.write(head.replace(b"application/json", b"text/plain") + b"\r\n\r\n")
        refused = await read_answer(reader)
        writer.close()
        return [interim.status, final.status, refused.status]

    assert over_the_wire(server, work) == [100, 200, 415]
    old = waiting.replace(b"HTTP/1.1", b"HTTP/1.0")
    assert one(server, old)[0].status == 200  # HTTP/1.0 knows no 100
