import pytest

from gptmock.simulator.samples import sample

NODE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
    "required": ["name", "next"],
}
TREE = {
    "type": "object",
    "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["children"],
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "Paris"),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 7}, 7),
        ({"type": ["null", "integer"]}, 3),
        ({"type": "integer", "minimum": 10}, 10),
        ({"type": "integer", "exclusiveMinimum": 10}, 11),
        ({"type": "integer", "maximum": 1}, 1),
        ({"type": "number"}, 21.5),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": "string", "minLength": 8}, "Parisxxx"),
        ({"type": "string", "maxLength": 2}, "Pa"),
        ({"type": "string", "format": "date"}, "2026-11-23"),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"type": "array", "items": {"type": "boolean"}, "maxItems": 0}, []),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 3),
        ({"$ref": "#/$defs/City", "$defs": {"City": {"enum": ["Rome"]}}}, "Rome"),
        ({"type": "object", "properties": {"a": {}, "b": {"type": "integer"}}, "required": ["b"]}, {"b": 3}),
        ({"type": "object", "properties": {"email": {"type": "string"}}}, {"email": "ada@example.test"}),
        ({"allOf": [{"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}]}, {"a": 1}),
    ],
)
def test_a_minimal_instance(schema, value):
    assert sample(schema) == value


def test_a_schema_that_refers_to_itself_comes_to_an_end():
    found = sample({"$ref": "#/$defs/Node", "$defs": {"Node": NODE}})
    while found is not None:
        assert found["name"] == "Ada Lovelace"
        found = found["next"]


def test_a_tree_ends_in_empty_arrays():
    found = sample(TREE)
    while found["children"]:
        found = found["children"][0]
    assert found == {"children": []}
