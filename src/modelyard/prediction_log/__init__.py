"""Which version answered which request: lines of JSON in a folder, written by servers, searched by
`modelyard trace`.

    <folder>/20261120T131430.123456-<host>-<pid>.ndjson

One file belongs to one process, which holds a shared lock on it; a process goes on to another file
when its own is full or the day has passed. `record.py` says what a line holds.
"""
