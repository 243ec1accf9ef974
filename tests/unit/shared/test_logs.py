import json
import logging

from modelyard.logs import JsonFormatter, TextFormatter, strip_prefix


def make_record(text: str, **fields: object) -> logging.LogRecord:
    record = logging.makeLogRecord(
        {"name": "nodeagent.main", "levelname": "ERROR", "levelno": logging.ERROR, "msg": text}
    )
    vars(record).update(fields)
    return record


def test_a_line_for_collectors_has_the_fields_that_were_given() -> None:
    line = json.loads(JsonFormatter().format(make_record("no room", free_bytes=5)))
    assert (line["level"], line["logger"], line["message"], line["free_bytes"]) == (
        "error",
        "nodeagent.main",
        "no room",
        5,
    )


def test_the_prefix_of_a_line_for_people_can_be_taken_off() -> None:
    line = TextFormatter().format(make_record("cannot serve a@1: it is broken", pid=3))
    assert line.startswith("20") and "ERROR" in line
    assert strip_prefix(line) == "cannot serve a@1: it is broken pid=3"
    assert strip_prefix("Segmentation fault: 11") == "Segmentation fault: 11"
