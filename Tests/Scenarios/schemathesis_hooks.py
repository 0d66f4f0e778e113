"""Puts what exists in place of most of what is made up, so that operations have something to act on."""

import re
from random import Random

import schemathesis


# What the schema calls an instant; what is not one has to be refused, and so stays.
INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def dice(made_up):
    """Falls as the made-up value tells, so that a seed of schemathesis repeats a whole run."""
    return Random(repr(made_up))


def texts(value):
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    chance = dice(path_parameters)
    if path_parameters and chance.random() < 0.75:
        if "name" in path_parameters:
            path_parameters["name"] = chance.choice(["web", "vault", "spare"])
        elif "/grants/" in context.operation.path:
            path_parameters["id"] = f"{chance.randint(1, 24)}.1"
        else:
            path_parameters["id"] = str(chance.randint(1, 40))
    return path_parameters


@schemathesis.hook
def map_body(context, body):
    chance = dice(body)
    if isinstance(body, dict) and texts(body.get("targets")) and texts(body.get("sources")) and chance.random() < 0.75:
        body["targets"] = [chance.choice(["web", "vault", "8080/tcp"])]
        body["sources"] = [f"198.51.100.{chance.randint(1, 254)}"]
        for key in ("duration", "until", "at"):
            value = body.get(key)
            is_text = isinstance(value, str) and (key == "duration" or INSTANT.fullmatch(value))
            if (value is None or is_text) and chance.random() < 0.75:
                body.pop(key, None)
    return body
