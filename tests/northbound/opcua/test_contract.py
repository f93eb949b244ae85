"""Every private or patched name of asyncua that `stack/` relies on: still there, and still used as we think.

When a new minor of asyncua is to be allowed (stack/version.py), these are read first.
"""

import inspect
from types import ModuleType

import pytest
from asyncua import Server, ua
from asyncua.common import connection, utils, xmlimporter
from asyncua.crypto import security_policies
from asyncua.server import (
    address_space,
    binary_server_asyncio,
    internal_server,
    internal_session,
    internal_subscription,
    monitored_item_service,
    subscription_service,
    uaprocessor,
)
from asyncua.ua import ua_binary

from bridge.northbound.opcua.stack import version
from bridge.northbound.opcua.stack.engine import SECURED
from bridge.northbound.opcua.stack.values import TagValue


def source(thing: object) -> str:
    return inspect.getsource(thing)  # type: ignore[arg-type]


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize("installed", ["2.1", "2.1.0", "2.1.7"])
def test_a_tested_minor_is_taken(installed: str) -> None:
    version.check(installed)


@pytest.mark.parametrize("installed", ["2.0.9", "2.2.0", "3.1.0", "2.10.0"])
def test_an_untested_minor_is_refused(installed: str) -> None:
    with pytest.raises(version.UntestedVersion, match=installed):
        version.check(installed)


@pytest.mark.parametrize(
    ("owner", "method", "expected"),
    [
        (uaprocessor.UaProcessor, "__init__", ["self", "internal_server", "transport", "limits"]),
        (uaprocessor.UaProcessor, "process", ["self", "header", "body"]),
        (uaprocessor.UaProcessor, "process_message", ["self", "seqhdr", "body"]),
        (uaprocessor.UaProcessor, "_process_message", ["self", "typeid", "requesthdr", "seqhdr", "body"]),
        (uaprocessor.UaProcessor, "send_response", ["self", "requesthandle", "seqhdr", "response", "msgtype"]),
        (uaprocessor.UaProcessor, "get_publish_request", ["self", "subscription_id"]),
        (uaprocessor.UaProcessor, "forward_publish_response", ["self", "result", "requestdata"]),
        (uaprocessor.UaProcessor, "publish_request_limit", ["self", "subscription_count"]),
        (uaprocessor.UaProcessor, "_evict_publish_request", ["self"]),
        (uaprocessor.UaProcessor, "_should_close_session_on_transport_loss", ["self"]),
        (uaprocessor.UaProcessor, "close", ["self"]),
        (binary_server_asyncio.OPCUAProtocol, "data_received", ["self", "data"]),
        (binary_server_asyncio.OPCUAProtocol, "connection_made", ["self", "transport"]),
        (binary_server_asyncio.OPCUAProtocol, "connection_lost", ["self", "ex"]),
        (binary_server_asyncio.OPCUAProtocol, "_process_received_message_loop", ["self"]),
        (binary_server_asyncio.OPCUAProtocol, "_activation_watchdog", ["self"]),
        (binary_server_asyncio.BinaryServer, "_make_protocol", ["self"]),
        (binary_server_asyncio.BinaryServer, "_close_task_loop", ["self"]),
        (binary_server_asyncio.BinaryServer, "_close_tasks", ["self"]),
        (internal_server.InternalServer, "load_standard_address_space", ["self", "shelf_file"]),
        (internal_server.InternalServer, "create_session", ["self", "name", "user", "external"]),
        (internal_server.InternalServer, "lookup_external_session", ["self", "auth_token"]),
        (internal_server.InternalServer, "register_external_session", ["self", "session"]),
        (internal_server.InternalServer, "unregister_external_session", ["self", "session"]),
        (internal_server.InternalServer, "decrypt_user_token", ["self", "isession", "token"]),
        (internal_session.InternalSession, "create_session", ["self", "params", "sockname"]),
        (internal_session.InternalSession, "close_session", ["self", "delete_subs"]),
        (internal_session.InternalSession, "publish", ["self", "acks"]),
        (internal_session.InternalSession, "transfer_subscriptions", ["self", "params", "callback"]),
        (internal_subscription.InternalSubscription, "publish_results", ["self", "requestdata"]),
        (internal_subscription.InternalSubscription, "republish", ["self", "nb"]),
        (internal_subscription.InternalSubscription, "_subscription_loop", ["self"]),
        (internal_subscription.InternalSubscription, "enqueue_datachange_event",
         ["self", "mid", "eventdata", "maxsize"]),
        (subscription_service.SubscriptionService, "create_subscription",
         ["self", "params", "callback", "session_id", "request_callback"]),
        (monitored_item_service.MonitoredItemService, "_create_data_change_monitored_item", ["self", "params"]),
        (monitored_item_service.MonitoredItemService, "_create_events_monitored_item", ["self", "params"]),
        (monitored_item_service.MonitoredItemService, "_make_monitored_item_common", ["self", "params"]),
        (monitored_item_service.MonitoredItemService, "_modify_monitored_item", ["self", "params"]),
        (monitored_item_service.MonitoredItemService, "_set_monitoring_mode", ["self", "mode", "mid"]),
        (monitored_item_service.MonitoredItemService, "_delete_monitored_items", ["self", "mid"]),
        (monitored_item_service.MonitoredItemService, "_revise_queue_size", ["self", "requested"]),
        (monitored_item_service.MonitoredItemValues, "set_current_datavalue", ["self", "cur_val"]),
        (xmlimporter.XmlImporter, "__init__", ["self", "server", "strict_mode", "auto_load_definitions"]),
        (xmlimporter.XmlImporter, "_get_server", ["self"]),
        (xmlimporter.XmlImporter, "_add_missing_reverse_references", ["self", "new_nodes"]),
        (Server, "_set_endpoints", ["self", "policy", "mode", "level"]),
        (Server, "_setup_server_nodes", ["self"]),
        (connection.SecureConnection, "is_open", ["self"]),
        (connection.SecureConnection, "open", ["self", "params", "server"]),
        (connection.SecureConnection, "revolve_tokens", ["self"]),
        (connection.SecureConnection, "_check_sym_header", ["self", "security_hdr"]),
        (connection.TransportLimits, "create_acknowledge_and_set_limits", ["self", "msg"]),
        (connection.MessageChunk, "max_body_size", ["crypto", "max_chunk_size"]),
        (security_policies.Cryptography, "verify", ["self", "data", "sig"]),
        (security_policies.Cryptography, "padding", ["self", "size"]),
        (security_policies.Cryptography, "remove_padding", ["self", "data"]),
        (utils.Buffer, "read", ["self", "size"]),
        (utils.Buffer, "skip", ["self", "size"]),
    ],
    ids=lambda value: getattr(value, "__name__", None) if not isinstance(value, list) else "",
)  # fmt: skip
def test_method_is_there_with_its_parameters(owner: type, method: str, expected: list[str]) -> None:
    assert parameters(inspect.unwrap(getattr(owner, method)))[: len(expected)] == expected


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (uaprocessor.UaProcessor,
         ["_connection", "_limits", "_transport", "_publish_requests", "_publish_results_subs",
          "_session_watchdog_task", "session_last_activity"]),
        (connection.SecureConnection,
         ["_incoming_size", "_incoming_parts", "_policies", "_limits", "_sequence_number", "_peer_sequence_number",
          "security_token", "security_policy"]),
        (utils.Buffer, ["_data"]),
        (binary_server_asyncio.OPCUAProtocol,
         ["_buffer", "messages", "clients", "policies", "limits", "_task", "_activation_watchdog_task"]),
        (binary_server_asyncio.BinaryServer, ["_server", "_policies", "clients", "closing_tasks", "cleanup_task"]),
        (internal_server.InternalServer,
         ["_external_sessions", "subscription_service", "isession", "disabled_clock", "aspace", "supported_tokens"]),
        (internal_subscription.InternalSubscription,
         ["_triggered_datachanges", "_triggered_events", "_triggered_statuschanges", "_publishing_enabled", "_startup",
          "_keep_alive_count", "_publish_cycles_count", "_notification_seq", "_not_acknowledged_results",
          "_no_acks_limit", "_task", "monitored_item_srv", "pub_request_callback", "pub_result_callback",
          "session_id"]),
        (monitored_item_service.MonitoredItemService,
         ["_monitored_items", "_monitored_events", "_monitored_datachange", "_monitored_item_counter", "isub"]),
        (subscription_service.SubscriptionService, ["subscriptions", "_sub_id_counter"]),
        (Server, ["_application_uri", "_policies", "product_uri", "manufacturer_name", "bserver", "limits"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_attribute_is_set_in_the_constructor(owner: type, names: list[str]) -> None:
    constructor = source(owner.__init__)  # type: ignore[misc]
    missing = [name for name in names if f"self.{name}" not in constructor]
    assert not missing


def test_item_service_has_no_attribute_that_ours_does_not_set() -> None:
    import re

    theirs = set(re.findall(r"self\.(\w+)[:\s].*=", source(monitored_item_service.MonitoredItemService.__init__)))
    from bridge.northbound.opcua.stack.subscription import TagItems

    ours = set(re.findall(r"self\.(\w+)[:\s].*=", source(TagItems.__init__)))
    assert theirs <= ours


def test_readers_of_an_attribute_use_only_what_tag_value_has() -> None:
    import re

    text = source(address_space.AddressSpace)
    used = set(re.findall(r"attval\.(\w+)", text))
    assert used <= {"value", "value_callback", "value_setter", "datachange_callbacks"}
    assert all(hasattr(TagValue, name) for name in used)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (ua_binary, "unpack_uatype_array"),
        (ua_binary, "MAX_RESHAPE_ELEMENTS"),
        (ua_binary, "_create_list_deserializer"),
        (ua_binary, "_create_uatype_array_deserializer"),
    ],
)
def test_patched_name_is_looked_up_when_used(module: ModuleType, name: str) -> None:
    assert hasattr(module, name)
    users = (ua_binary.variant_from_binary, ua_binary._reshape, ua_binary._create_type_deserializer)
    assert name in "".join(source(one) for one in users)


@pytest.mark.parametrize(
    "name", ["_create_type_deserializer", "_create_dataclass_deserializer", "_create_uatype_deserializer"]
)
def test_deserializers_that_hold_those_of_lists_can_be_forgotten(name: str) -> None:
    assert callable(getattr(ua_binary, name).cache_clear)


def test_parameters_of_requests_are_decoded_by_the_name_we_replace() -> None:
    text = source(uaprocessor.UaProcessor)
    assert text.count("struct_from_binary(ua.") > 25
    assert "ua_binary.struct_from_binary" not in text


def test_processor_sends_every_answer_through_send_response() -> None:
    text = source(uaprocessor.UaProcessor)
    assert text.count("_transport.write") == text.count("uatcp_to_binary(") + 1  # HEL's and ERR's, and send_response's


def test_connection_of_a_processor_is_made_in_its_constructor_only() -> None:
    assert source(uaprocessor.UaProcessor).count("SecureConnection(") == 1
    assert "self._connection = SecureConnection(" in source(uaprocessor.UaProcessor.__init__)
    assert "self._limits = copy.deepcopy(limits)" in source(uaprocessor.UaProcessor.__init__)


def test_tokens_are_issued_and_taken_into_use_where_ours_notes_their_ends() -> None:
    assert "self._connection.open(request.Parameters" in source(uaprocessor.UaProcessor.open_secure_channel)
    assert "params.RequestedLifetime" in source(connection.SecureConnection.open)
    assert "self.revolve_tokens()" in source(connection.SecureConnection._check_sym_header)
    receive = source(connection.SecureConnection.receive_from_header_and_body)
    assert receive.index("self._check_sym_header(") < receive.index("MessageChunk.from_header_and_body")
    assert "create_acknowledge_and_set_limits(msg)" in source(uaprocessor.UaProcessor.process)


@pytest.mark.parametrize("policy", SECURED)
def test_a_policy_says_how_long_a_nonce_is(policy: ua.SecurityPolicyType) -> None:
    name = f"SecurityPolicy{policy.name.partition('_')[0]}"
    assert getattr(security_policies, name).secure_channel_nonce_length == 32
    assert security_policies.SecurityPolicyNone.secure_channel_nonce_length == 0


def test_endpoints_and_policies_are_made_in_two_places_only() -> None:
    assert source(Server._set_endpoints).count("self.iserver.add_endpoint(") == 1
    assert "self.endpoints.append(" in source(internal_server.InternalServer.add_endpoint)
    assert "self._policies.append(" in source(Server._setup_server_nodes)
    assert "self._set_endpoints(" in source(Server._setup_server_nodes)


def test_token_of_a_user_s_certificate_has_the_endpoint_s_policy() -> None:
    assert "idtoken.SecurityPolicyUri = policy.URI" in source(Server._set_endpoints)


def test_admin_rights_come_from_the_role_only() -> None:
    assert "user.role != UserRole.Admin" in source(address_space.AttributeService.write)
    assert "not user.role == UserRole.Admin" in source(address_space.NodeManagementService._add_node)


def test_messages_are_made_in_publish_results_only_which_is_ours() -> None:
    text = source(internal_subscription.InternalSubscription)
    loop = source(internal_subscription.InternalSubscription._subscription_loop)
    assert text.count("self._pop_publish_result()") == 1
    assert text.count("await self.publish_results()") == loop.count("await self.publish_results()") + 1  # interval of 0
    assert "sub.publish_results(data)" in source(uaprocessor.UaProcessor._process_message)


def test_kept_messages_are_looked_at_by_number_only() -> None:
    import re

    text = source(internal_subscription) + source(subscription_service)
    used = set(re.findall(r"_not_acknowledged_results(\.\w+|\[|\))", text))
    assert used == {".keys", ".pop", "[", ")"}


def test_user_manager_needs_get_user_only() -> None:
    assert "user_manager.get_user(" in source(internal_session.InternalSession.activate_session)
    text = source(internal_server) + source(internal_session)
    import re

    assert set(re.findall(r"user_manager\.(\w+)\(", text)) == {"get_user"}


def test_decoded_filters_are_of_the_classes_we_look_for() -> None:
    from asyncua.common.utils import Buffer
    from asyncua.ua.uaprotocol_auto import DataChangeFilter, EventFilter

    for asked, kind in ((ua.DataChangeFilter(), DataChangeFilter), (ua.EventFilter(), EventFilter)):
        data = ua_binary.struct_to_binary(ua.MonitoringParameters(Filter=asked))
        assert isinstance(ua_binary.struct_from_binary(ua.MonitoringParameters, Buffer(data)).Filter, kind)
