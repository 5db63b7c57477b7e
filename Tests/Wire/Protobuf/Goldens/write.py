#!/usr/bin/env python3
"""Write the goldens: write.py DESCRIPTOR_SET TYPE... > goldens.txt

Each field of the codec's test messages with each of its edge values, alone in its message, as PyPI protobuf writes it: lines of
type, wire form in hex, JSON, separated by tabs.
"""
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor as F

files = descriptor_pb2.FileDescriptorSet()
with open(sys.argv[1], "rb") as stream:
    files.ParseFromString(stream.read())
pool = descriptor_pool.DescriptorPool()
for file in files.file:
    pool.AddSerializedFile(file.SerializeToString())

EDGES = {
    F.CPPTYPE_INT32: [0, 1, -1, 127, 128, 2**31 - 1, -(2**31)],
    F.CPPTYPE_INT64: [0, 1, -1, 2**63 - 1, -(2**63)],
    F.CPPTYPE_UINT32: [0, 1, 300, 2**32 - 1],
    F.CPPTYPE_UINT64: [0, 1, 2**64 - 1],
    F.CPPTYPE_FLOAT: [0.0, 1.5, -0.0, 3.4028234663852886e38, 1.401298464324817e-45, float("inf"), float("-inf"), float("nan")],
    F.CPPTYPE_DOUBLE: [0.0, 0.1, -0.0, 1.7976931348623157e308, 5e-324, float("inf"), float("-inf"), float("nan")],
    F.CPPTYPE_BOOL: [False, True],
}
WELL_KNOWN = {
    "Timestamp": ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.500Z"],
    "Duration": ["0s", "-0.5s", "315576000000s", "1.000001s"],
    "FieldMask": ["", "fooBar,baz.quxQuux"],
    "Struct": [{}, {"a": [1, None, {"b": True}]}],
    "Value": [None, 1.5, "text", True, [1, "a"], {"k": None}],
    "ListValue": [[], [1, [2, [3]]]],
    "Any": [{}, {"@type": "type.googleapis.com/spanwire.codectest.v1.Inner", "a": 5}],
}


def edges(field):
    """Values of one element of the field, or texts of JSON."""
    if field.type == F.TYPE_STRING:
        return ["", "a", "h\u00e9llo \U0001f375", "a\0b\"\\\n", "x" * 200]
    if field.type == F.TYPE_BYTES:
        return [b"", b"\0\xff\xfe", bytes(range(130))]
    if field.type == F.TYPE_ENUM:
        return [value.number for value in field.enum_type.values]
    return EDGES[field.cpp_type]


def fill(message):
    """A submessage with its first plain field set, or its required one."""
    for field in message.DESCRIPTOR.fields:
        if field.cpp_type != F.CPPTYPE_MESSAGE and not field.is_repeated:
            setattr(message, field.name, edges(field)[1])
            return


def emit(message):
    wire = message.SerializeToString(deterministic=True).hex()
    text = json_format.MessageToJson(message, indent=None, descriptor_pool=pool, ensure_ascii=True)
    print(message.DESCRIPTOR.full_name, wire, text, sep="\t")


for name in sys.argv[2:]:
    Message = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    for field in Message.DESCRIPTOR.fields:
        repeated = field.is_repeated
        message = Message()
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            key, value = kind.fields_by_name["key"], kind.fields_by_name["value"]
            for one in sorted(set(edges(key)))[:3]:
                if value.message_type is not None:
                    fill(getattr(message, field.name)[one])
                else:
                    getattr(message, field.name)[one] = edges(value)[1]
            emit(message)
        elif kind is not None and kind.file.name.startswith("google/protobuf/"):
            values = WELL_KNOWN.get(kind.name)
            if values is None:  # a wrapper
                for edge in edges(kind.fields_by_name["value"]):
                    message = Message()
                    if repeated:
                        getattr(message, field.name).add(value=edge)
                    else:
                        getattr(message, field.name).value = edge
                        getattr(message, field.name).SetInParent()
                    emit(message)
            else:
                for value in [values] if repeated else values:
                    message = Message()
                    json_format.ParseDict({field.name: value}, message, descriptor_pool=pool)
                    emit(message)
        elif kind is not None:
            if repeated:
                for _ in range(2):
                    fill(getattr(message, field.name).add())
            else:
                getattr(message, field.name).SetInParent()
                fill(getattr(message, field.name))
            emit(message)
        elif repeated:
            getattr(message, field.name).extend(edges(field))
            emit(message)
        else:
            for edge in edges(field):
                message = Message()
                setattr(message, field.name, edge)
                emit(message)
