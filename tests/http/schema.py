"""Values made from a JSON schema: some that it accepts, some that it refuses."""

from . import contract

# One of every kind, and what programs trip over.
ODD = [None, True, False, 0, -1, 1, 0.5, 1e-9, 2**31, 2**32, 2**53, -2**53, 1e300, "", "x", "0", "1e0",
       "\u0000", "\U0001f600", "7" * 300, [], [[]], [None], {}, {"a": {"b": []}}]


def _bounds(schema):
    for name in ("minimum", "maximum"):
        if name in schema:
            yield from (schema[name], schema[name] - 1, schema[name] + 1, schema[name] + 0.5)
    for name in ("minLength", "maxLength"):
        if name in schema:
            yield from ("x" * schema[name], "x" * (schema[name] + 1), "x" * max(0, schema[name] - 1))


def invalid_values(schema):
    """What the schema refuses: of every wrong kind, and just beyond its bounds."""
    schema = contract.resolve(schema)
    return [v for v in [*ODD, *_bounds(schema)] if not contract.is_valid(v, schema)]


def _random_number(schema, rng):
    low, high = schema.get("minimum", -1e6), schema.get("maximum", 1e6)
    if schema.get("type") == "number" and rng.random() < 0.5:
        return rng.choice([rng.uniform(low, high), low, high])
    return rng.choice([rng.randint(int(low), int(high)), int(low), int(high)])


def _random_string(schema, rng):
    candidates = ["x", "seven", "7", "a b", "zwölf", "0" * 30, "req_1", "a" * 64]
    return rng.choice([c for c in candidates if contract.is_valid(c, schema)])


def random_value(schema, rng, hints):
    """A value that the schema accepts, at random. `hints` has, by a property's name, values to choose
    from instead; each must be valid."""
    schema = contract.resolve(schema)
    if "enum" in schema or "const" in schema:
        return rng.choice(schema.get("enum") or [schema["const"]])
    if schema.get("type") != "object" and "oneOf" in schema:
        return random_value(rng.choice(schema["oneOf"]), rng, hints)
    kind = schema.get("type")
    kind = rng.choice(kind) if isinstance(kind, list) else kind
    if kind in ("integer", "number"):
        return _random_number(schema, rng)
    if kind == "string":
        return _random_string(schema, rng)
    if kind == "array":
        least = schema.get("minItems", 0)
        n = rng.randint(least, min(least + 2, schema.get("maxItems", least + 2)))
        return [random_value(schema["items"], rng, hints) for _ in range(n)]
    if kind == "object":
        return random_object(schema, rng, hints)
    return {"null": None, "boolean": rng.random() < 0.5}[kind]


def random_object(schema, rng, hints):
    properties = schema.get("properties", {})
    needed = list(schema.get("required", []))
    alternatives = [a["required"] for a in schema.get("oneOf", []) if "required" in a]
    needed += rng.choice(alternatives) if alternatives else []
    barred = {name for a in alternatives for name in a} - set(needed)
    more = [name for name in properties if name not in needed and name not in barred]
    names = needed + rng.sample(more, rng.randint(0, min(5, len(more))))
    rng.shuffle(names)
    return {name: rng.choice(hints[name]) if name in hints
            else random_value(properties[name], rng, hints) for name in names}


def spoil(value, schema, rng):
    """A copy of an object with a fault or two at random places; now and then it is still valid."""
    value = dict(value)
    for _ in range(rng.randint(1, 2)):
        name = rng.choice([*schema.get("properties", {"x": None}), *value])
        kind = rng.randrange(4)
        if kind == 0:
            value[name] = rng.choice(ODD)
        elif kind == 1 and name in schema.get("properties", {}):
            value[name] = rng.choice(invalid_values(schema["properties"][name]))
        elif kind == 2:
            value.pop(name, None)
        else:
            value[rng.choice(["junk", name.upper(), name + " ", "", "__proto__", "a/b~c"])] = \
                rng.choice(ODD)
    return value
