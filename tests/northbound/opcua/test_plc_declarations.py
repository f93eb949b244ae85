"""What is declared for a PLC: names it takes, lists that fit their structures, NodeIds that are there."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import chain

import pytest
import pytest_asyncio
from asyncua import Client, ua

from bridge.errors import NotDeclared
from bridge.model.command import Argument, CommandDefinition
from bridge.model.plant import Machine
from bridge.model.tag import Tag, TagDefinition
from bridge.model.value import DataType
from bridge.northbound.opcua import convert
from bridge.northbound.opcua.plc import scl, structured_text
from bridge.northbound.opcua.plc.dialect import Dialect, Server, declarations
from bridge.northbound.opcua.plc.names import LONGEST
from bridge.northbound.opcua.plc.sheet import sheet
from tests.northbound.opcua.house import House, house, identity, secure_client
from tests.one_of_everything import filled_table

SERVER = Server("press", "opc.tcp://press:4840/", "urn:plantbridge:press:instances", 2, "1.2.3")
IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*\Z")
PAIRS = (
    ("TYPE", "END_TYPE"),
    ("STRUCT", "END_STRUCT"),
    ("DATA_BLOCK", "END_DATA_BLOCK"),
    ("FUNCTION_BLOCK", "END_FUNCTION_BLOCK"),
    ("IF", "END_IF"),
    ("CASE", "END_CASE"),
)
TYPES = {Dialect.SCL: scl.TYPES, Dialect.ST: structured_text.TYPES}


def extruder() -> Machine:
    table, _ = filled_table()
    machine = table.plant.machines["extruder-1"]
    assert isinstance(machine, Machine)
    return machine


def odd(machine: Machine) -> Machine:
    """Names that no PLC takes as they are."""
    names = ("Status/a_b", "Status/A-B", "Status/a__b", "Status/1st", f"Status/{'x' * 60}/{'y' * 60}/END_IF")
    tags = tuple(Tag(f"{machine.id}.{number}", number, machine.id, _tag(name)) for number, name in enumerate(names))
    arguments = tuple(Argument(name, DataType.String) for name in ("STRING", "String", "2nd", "end-if", "RequestId"))
    commands = tuple(CommandDefinition(name, "values", arguments) for name in ("If", "if", "Case/1"))
    return replace(machine, id="9-press", tags=(*machine.tags, *tags), commands=commands)


def _tag(name: str) -> TagDefinition:
    return TagDefinition(name, DataType.Boolean, description="50 µm\n(*", label={"en": "Düse, 20 °C // END_TYPE"})


def without_remarks(source: str) -> str:
    """Without what a compiler skips, and with empty texts: a URL has "//" in it."""
    return re.sub(r"('[^'\n]*')|//.*", lambda found: "''" if found[1] else "", source)


def structures(source: str) -> dict[str, list[tuple[str, str]]]:
    """Members of every structure: name and type."""
    found = re.finditer(r'^TYPE "?(\w+)"?.*?^ *STRUCT$(.*?)^ *END_STRUCT', source, re.MULTILINE | re.DOTALL)
    return {one[1]: re.findall(r"^ *(\w+) : ([^;:]+)(?: :=[^;]*)?;", one[2], re.MULTILINE) for one in found}


def lists(source: str, dialect: Dialect) -> dict[str, list[str]]:
    """Identifiers of every list of NodeIds, in order."""
    if dialect is Dialect.ST:
        found = re.finditer(r"^ *(\w+)_Nodes : ARRAY\[1\.\.(\d+)\].*?\[$(.*?)^ *\];", source, re.MULTILINE | re.DOTALL)
        listed = {one[1]: re.findall(r"'([^']+)'", one[3]) for one in found}
        sizes = {
            one[0]: int(one[1]) for one in re.findall(r"^ *(\w+)_Nodes : ARRAY\[1\.\.(\d+)\]", source, re.MULTILINE)
        }
    else:
        sizes = {
            name: int(last) + 1
            for name, last in re.findall(r"^ *(\w+) : Array\[0\.\.(\d+)\] of OPC_UA_NodeId;", source, re.MULTILINE)
        }
        listed = {name: [] for name in sizes}
        for name, index, text in re.findall(
            r"^ *(\w+)\[(\d+)\]\.Identifier := WSTRING#'([^']+)';", source, re.MULTILINE
        ):
            assert int(index) == len(listed[name])
            listed[name].append(text)
        assert source.count(".IdentifierType := 1;") == sum(sizes.values())
    assert {name: len(texts) for name, texts in listed.items()} == sizes
    return listed


@pytest.fixture(params=list(Dialect))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return Dialect(request.param)


@pytest.mark.parametrize("machine", [extruder(), odd(extruder())], ids=["usual", "odd"])
def test_the_source_is_ascii_and_its_blocks_are_closed(machine: Machine, dialect: Dialect) -> None:
    source = declarations(machine, SERVER, dialect)
    assert source.isascii()
    assert "\r" not in source
    words = re.findall(r"\b[A-Z_]+\b", without_remarks(source))
    for begin, end in PAIRS:
        assert words.count(begin) == words.count(end), begin
    assert sum(words.count(word) for word in ("VAR", "VAR_INPUT", "VAR_OUTPUT", "VAR_GLOBAL")) == words.count("END_VAR")


@pytest.mark.parametrize("machine", [extruder(), odd(extruder())], ids=["usual", "odd"])
def test_names_are_identifiers_and_none_is_given_twice(machine: Machine, dialect: Dialect) -> None:
    source = without_remarks(declarations(machine, SERVER, dialect))
    scopes = [[name for name, _ in members] for members in structures(source).values()]
    scopes.append(list(structures(source)))
    if dialect is Dialect.ST:
        block = source[source.index("VAR_GLOBAL") :]
        scopes.append(re.findall(r"^ *(\w+) : ", block[: block.index("END_VAR")], re.MULTILINE))
    else:
        blocks = re.findall(r"^DATA_BLOCK.*?^END_DATA_BLOCK", source, re.MULTILINE | re.DOTALL)
        assert len(blocks) == 2
        scopes += [re.findall(r"^ *(\w+) : ", block, re.MULTILINE) for block in blocks]
    for names in scopes:
        assert names
        assert len({name.casefold() for name in names}) == len(names)
        assert [name for name in names if not IDENTIFIER.match(name) or len(name) > LONGEST + 20] == []


def test_every_list_has_the_order_and_types_of_its_structure(dialect: Dialect) -> None:
    machine = extruder()
    source = declarations(machine, SERVER, dialect)
    one, types, found = sheet(machine, SERVER), structures(source), lists(source, dialect)
    prefix = "PB_extruder_1_" if dialect is Dialect.ST else ""
    expected = {f"{prefix}Values": (one.values, "PB_extruder_1_Values")}
    for order in one.orders:
        expected[f"{prefix}{order.name}_Order"] = (order.written, f"PB_extruder_1_{order.name}_Order")
        expected[f"{prefix}{order.name}_Answer"] = (order.read, "PB_Answer")
    for name, (nodes, structure) in expected.items():
        assert found[name] == [node.id for node in nodes]
        assert types[structure] == [(node.name, TYPES[dialect][node.data_type]) for node in nodes]
    assert found[f"{prefix}SetPoints"] == [tag.id for tag in machine.tags if tag.definition.writable]


def test_arguments_come_before_the_request_id_and_execute_is_last() -> None:
    order = next(one for one in sheet(extruder(), SERVER).orders if one.command == "SetPid/Front")
    assert [node.name for node in order.written] == ["Args_Kp", "Args_Zone", "RequestId", "Execute"]
    assert "0 to 100" in order.written[0].remark
    assert "one of front, back" in order.written[1].remark


def test_an_argument_begins_with_its_default_so_that_a_cyclic_write_keeps_it(dialect: Dialect) -> None:
    defaults = {"Cycle": 1.5, "Count": -3, "Text": "Gr\u00fc\u00dfe, $5 'a'", "On": True, "Off": False, "None": None}
    kinds = (DataType.Double, DataType.Int32, DataType.String, DataType.Boolean, DataType.Boolean, DataType.DateTime)
    arguments = [
        Argument(name, kind, default=default) for (name, default), kind in zip(defaults.items(), kinds, strict=True)
    ]
    command = CommandDefinition("Book", "values", tuple(arguments))
    source = without_remarks(declarations(replace(extruder(), commands=(command,)), SERVER, dialect).replace("'", "`"))
    words = TYPES[dialect]
    text = "`Gr$FC$DFe, $$5 $`a$``" if dialect is Dialect.ST else "WSTRING#`Gr$00FC$00DFe, $$5 $`a$``"
    for line in (
        f"Args_Cycle : {words[DataType.Double]} := 1.5;",
        f"Args_Count : {words[DataType.Int32]} := -3;",
        f"Args_Text : {words[DataType.String]} := {text};",
        f"Args_On : {words[DataType.Boolean]} := TRUE;",
        f"Args_Off : {words[DataType.Boolean]};",
        f"Args_None : {words[DataType.DateTime]};",
    ):
        assert line in source


def test_numbers_of_texts_are_declared(dialect: Dialect) -> None:
    source = declarations(extruder(), SERVER, dialect)
    assert re.search(
        r"\bSetpoints_Mode_Extrude : UDINT := 2;|_Setpoints_Mode_Extrude : UDINT := 2;", source, re.IGNORECASE
    )


def test_the_header_says_what_it_was_made_from(dialect: Dialect) -> None:
    header = declarations(extruder(), SERVER, dialect).partition("\n\n")[0]
    for words in (SERVER.bridge, SERVER.endpoint, SERVER.namespace, SERVER.version, "extruder-1", extruder().type_name):
        assert words in header


def test_the_hash_changes_with_what_is_declared_and_with_nothing_else(dialect: Dialect) -> None:
    def digest(machine: Machine, server: Server = SERVER) -> str:
        found = re.search(r"hash +(\w+)", declarations(machine, server, dialect))
        assert found is not None
        return found[1]

    machine = extruder()
    assert digest(machine) == digest(extruder())
    assert digest(machine) == digest(machine, replace(SERVER, version="9.9.9"))
    assert digest(machine) != digest(replace(machine, tags=machine.tags[1:]))


def test_only_the_commands_that_were_asked_for_are_declared(dialect: Dialect) -> None:
    source = declarations(extruder(), SERVER, dialect, ["Standby"])
    assert "Standby_Order" in source
    assert "SetPid" not in source


def test_a_command_that_is_not_there_is_named_with_its_neighbour() -> None:
    with pytest.raises(NotDeclared, match='"Standbye"; did you mean "Standby"'):
        declarations(extruder(), SERVER, Dialect.ST, ["Standbye"])


def test_every_data_type_has_a_word_in_every_dialect(dialect: Dialect) -> None:
    assert set(TYPES[dialect]) == set(DataType)


# --- a real server ---------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def home() -> AsyncIterator[House]:
    async with house() as home:
        home.trust(identity("plc"))
        yield home


async def test_every_node_is_in_the_address_space_with_the_declared_type(home: House) -> None:
    server = home.server.server()
    one = sheet(home.table.plant.machines["extruder-1"], server)
    nodes = [*one.values, *chain.from_iterable((*order.written, *order.read, *order.others) for order in one.orders)]
    async with await secure_client(home, identity("plc"), "engineer") as client:
        index = await client.get_namespace_index(server.namespace)
        assert index == server.index
        assert server.endpoint == home.server.endpoint
        for node in nodes:
            declared = await _data_type(client, node.id, index)
            assert declared == convert.data_type_id(node.data_type), node.id
        for order in one.orders:
            for node in order.written:
                level = await client.get_node(ua.NodeId(node.id, index)).get_user_access_level()
                assert ua.AccessLevel.CurrentWrite in level, node.id


async def _data_type(client: Client, identifier: str, index: int) -> ua.NodeId:
    return await client.get_node(ua.NodeId(identifier, index)).read_data_type()
