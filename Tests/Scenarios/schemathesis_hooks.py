"""Puts what exists in place of most of what is made up, so that operations have something to act on."""

from random import Random

import schemathesis


def dice(made_up):
    """Falls as the made-up value tells, so that a seed of schemathesis repeats a whole run."""
    return Random(repr(made_up))


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
    if isinstance(body, dict) and "targets" in body and "sources" in body and chance.random() < 0.75:
        body["targets"] = [chance.choice(["web", "vault", "8080/tcp"])]
        body["sources"] = [f"198.51.100.{chance.randint(1, 254)}"]
        for key in ("duration", "until", "at"):
            if chance.random() < 0.75:
                body.pop(key, None)
    return body
