"""Clients of other languages with their defaults, each as a program of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.models.model import register_toy
from support.models.toy import ROW
from support.serving_support import ServingProcess

NAME = "served-abroad"
ANSWER = 1012.5
JAVA = """
import java.net.URI;
import java.net.http.*;
import java.io.ByteArrayInputStream;

public class Ask {
    public static void main(String[] words) throws Exception {
        var client = HttpClient.newHttpClient();
        var uri = URI.create(words[0] + "/predict");
        var body = words[1].getBytes();
        for (var publisher : new HttpRequest.BodyPublisher[] {
                HttpRequest.BodyPublishers.ofByteArray(body),
                HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body)),
                HttpRequest.BodyPublishers.ofByteArray(body)}) {
            var request = HttpRequest.newBuilder(uri)
                .header("Content-Type", "application/json").POST(publisher).build();
            var answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.body());
        }
    }
}
"""
NODE = """
const [url, body] = process.argv.slice(2);
const headers = {'Content-Type': 'application/json'};
const stream = () => new ReadableStream({start(c) { c.enqueue(Buffer.from(body)); c.close(); }});
for (const options of [{body}, {body: stream(), duplex: 'half'}, {body}]) {
  const answer = await fetch(url + '/predict', {method: 'POST', headers, ...options});
  console.log(answer.status, await answer.text());
}
"""


@pytest.fixture(scope="module")
def url(mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("abroad")
    register_toy(mlflow_url, NAME, 1, alias="champion")
    uri = f"models:/{NAME}@champion"
    with ServingProcess(folder / "server", mlflow_url, uri) as running:
        running.wait_for_version("1")
        yield f"http://127.0.0.1:{running.port}"


def output(*command: str) -> list[str]:
    """The lines that a program prints; the test is skipped where there is no such program."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed; test_guarded.py sends the same bytes")
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def check(lines: list[str], answers: int) -> None:
    assert len(lines) == answers
    for line in lines:
        status, _, text = line.partition(" ")
        assert status == "200", line
        assert json.loads(text)["prediction"] == [ANSWER]


def test_java(url: str, tmp_path: Path) -> None:
    """Its first POST asks for HTTP/2; the second is chunked."""
    (tmp_path / "Ask.java").write_text(JAVA)
    check(output("java", str(tmp_path / "Ask.java"), url, json.dumps(ROW)), 3)


def test_node(url: str, tmp_path: Path) -> None:
    (tmp_path / "ask.mjs").write_text(NODE)
    check(output("node", str(tmp_path / "ask.mjs"), url, json.dumps(ROW)), 3)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--http1.0"],
        ["--http2"],  # asks to change to it
        ["-H", "Transfer-Encoding: chunked"],
        ["-H", "Connection: close"],
        ["-H", "Expect: 100-continue"],
    ],
    ids=" ".join,
)
def test_curl(url: str, options: list[str]) -> None:
    """Over a kilobyte, for which older ones wait to be asked."""
    body = json.dumps([ROW]) + " " * 2000
    form = ["-H", "Content-Type: application/json", "--data-binary", body, "-w", "\n%{http_code}"]
    lines = output("curl", "--silent", "--show-error", *form, *options, f"{url}/predict")
    check([f"{lines[1]} {lines[0]}"], 1)


@pytest.mark.parametrize(
    "path", ["/health", "/livez", "/model", "/ping", "/version", "/v2", "/v2/health/live", "/docs",
             "/openapi.json", f"/v2/models/{NAME}/ready", "/docs/assets/swagger-ui.css"],
)  # fmt: skip
def test_head_of_every_get(url: str, path: str) -> None:
    lines = output("curl", "--silent", "--show-error", "--head", f"{url}{path}")
    assert lines[0].startswith("HTTP/1.1 200")
