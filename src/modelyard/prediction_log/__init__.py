"""Which version answered which request: lines of JSON in a folder, written by servers, searched by
`modelyard trace`.

    <folder>/20261120T131430.123456-<host>-<pid>.ndjson

One file belongs to one process, which holds a shared lock on it; a process goes on to another file
when its own is full or the day has passed. A line:

    {"time": "2026-11-20T13:14:30.123Z", "id": "…", "model": "fraud-detector", "version": "3",
     "path": "/predict", "rows": 1}

and, where the request belonged to a W3C trace, "trace"; where contents are logged, "request" and
"answer" as they were, or "request_base64" of what is not JSON, or "request_bytes", a number, of
what was too long to be kept ("answer…" in the same way).
"""
