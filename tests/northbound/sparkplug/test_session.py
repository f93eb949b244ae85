"""The session against a little host over a network that loses nothing: every rule of seq, bdSeq, births and deaths."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridge.northbound.sparkplug import codec
from bridge.northbound.sparkplug.codec import MetricType, stamp
from bridge.northbound.sparkplug.session import BD_SEQ, REBIRTH, REBIRTH_WINDOW_S, Session, State
from bridge.northbound.sparkplug.topic import EdgeNode, MessageType
from bridge.transport.mqtt import Message
from tests.northbound.sparkplug.host import Host

NODE = EdgeNode("acme:essen", "bridge-1")
NOW = 1_772_600_767_089
VALUE = codec.MetricEncoder("Value", MetricType.Int64)


def value(number: int, *, born: bool = False) -> list[bytes]:
    return [VALUE.encode(stamp(NOW), number, with_type=born)]


def rebirth_request(wanted: object = True) -> codec.Payload:
    encoded = codec.MetricEncoder(REBIRTH, MetricType.Boolean).encode(stamp(NOW), wanted, with_type=True)  # type: ignore[arg-type]
    return codec.decode(codec.payload(NOW, [encoded], None))


def online(bd_seq: int = 0, *devices: str) -> tuple[Session, Host]:
    session, host = Session(NODE), Host()
    session.connect(bd_seq, NOW)
    session.accepted()
    session.subscribed(0.0)
    give_birth(session, host, *devices)
    return session, host


def give_birth(session: Session, host: Host, *devices: str, monotonic: float = 0.0) -> None:
    tell(host, session.node_birth(NOW, value(0, born=True)))
    for device in devices:
        tell(host, session.device_birth(NOW, device, value(0, born=True)))
    session.births_are_out(monotonic)


def tell(host: Host, message: Message | None) -> None:
    assert message is not None
    host.hear(message.topic, message.payload, message.qos, message.retain)


def test_topics_ndeath_payload_of_the_will() -> None:
    """tck-id-payloads-ndeath-will-message(-qos, -retain), -topics-ndeath-payload, -topics-ndeath-seq"""
    will = Session(NODE).connect(7, NOW)
    assert (will.topic, will.qos, will.retain) == ("spBv1.0/acme:essen/NDEATH/bridge-1", 1, False)
    decoded = codec.decode(will.payload)
    assert decoded.seq is None
    (metric,) = decoded.metrics
    assert (metric.name, metric.datatype, metric.value_field, metric.value) == (BD_SEQ, MetricType.Int64, 11, 7)


def test_subscriptions_come_before_the_births() -> None:
    """tck-id-message-flow-edge-node-ncmd-subscribe, -message-flow-device-dcmd-subscribe"""
    session = Session(NODE)
    session.connect(0, NOW)
    with pytest.raises(RuntimeError):
        session.node_birth(NOW, [])
    assert session.accepted() == ("spBv1.0/acme:essen/NCMD/bridge-1", "spBv1.0/acme:essen/DCMD/bridge-1/+")
    with pytest.raises(RuntimeError):
        session.node_birth(NOW, [])
    session.subscribed(5.0)
    assert session.rebirth_at == 5.0


def test_payloads_nbirth_bdseq_matches_the_will() -> None:
    _, host = online(7)
    assert host.bd_seq == 7
    assert host.broken == []


def test_payloads_sequence_num_incrementing_over_two_wraps() -> None:
    """tck-id-payloads-sequence-num-incrementing: NBIRTH 0, then on by one, 255 to 0, one counter for all messages."""
    session, host = online(0, "a", "b")
    seen = []
    for number in range(700):
        device = (None, "a", "b")[number % 3]
        message = session.data(NOW, device, value(number))
        tell(host, message)
        assert message is not None
        seen.append(codec.decode(message.payload).seq)
        if number % 100 == 99:
            tell(host, session.device_death(NOW, "b"))
            tell(host, session.device_birth(NOW, "b", value(0, born=True)))
    assert host.broken == []
    assert sum(after < before for before, after in pairwise(seen)) == 2
    assert len(host.said) > 600


def test_payloads_ddata_order_no_data_before_the_births_are_out() -> None:
    session, host = Session(NODE), Host()
    session.connect(0, NOW)
    session.accepted()
    session.subscribed(0.0)
    tell(host, session.node_birth(NOW, []))
    assert session.data(NOW, None, value(1)) is None
    tell(host, session.device_birth(NOW, "a", value(0, born=True)))
    assert session.data(NOW, "a", value(1)) is None
    session.births_are_out(0.0)
    tell(host, session.data(NOW, "a", value(1)))
    assert host.broken == []


def test_refused_data_uses_up_no_seq() -> None:
    session, host = online(0, "a")
    assert session.data(NOW, "unborn", value(1)) is None
    assert session.device_death(NOW, "unborn") is None
    tell(host, session.data(NOW, "a", value(1)))
    assert host.broken == []


def test_unique_device_id_has_no_second_birth() -> None:
    """tck-id-topic-structure-namespace-unique-device-id"""
    session, _ = online(0, "a")
    with pytest.raises(RuntimeError, match="born"):
        session.device_birth(NOW, "a", [])


def test_operational_behavior_data_commands_rebirth_actions() -> None:
    """Stop DATA at once, births again, same bdSeq, no NDEATH; afterwards DATA goes on."""
    session, host = online(9, "a")
    assert session.hear(MessageType.NCMD, None, rebirth_request(), 100.0) == ()
    assert session.state is State.REBIRTHING
    assert session.data(NOW, "a", value(1)) is None
    assert session.rebirth_at == 100.0
    give_birth(session, host, "a", monotonic=100.1)
    tell(host, session.data(NOW, "a", value(2)))
    assert host.said == ["NBIRTH", "DBIRTH a", "NBIRTH", "DBIRTH a", "DDATA a"]
    assert host.bd_seq == 9
    assert host.broken == []


@pytest.mark.parametrize("wanted", [False, None])
def test_rebirth_that_is_not_true_is_ignored(wanted: object) -> None:
    session, _ = online()
    session.hear(MessageType.NCMD, None, rebirth_request(wanted), 1.0)
    assert session.state is State.ONLINE
    assert session.rebirth_at is None


def test_burst_of_requests_is_served_at_once_and_once_more_at_the_end_of_the_window() -> None:
    session, host = online(0, "a")
    session.hear(MessageType.NCMD, None, rebirth_request(), 100.0)
    session.hear(MessageType.NCMD, None, rebirth_request(), 100.0)
    give_birth(session, host, "a", monotonic=100.1)
    assert session.rebirth_at is None, "both were served by one"
    for moment in (100.2, 100.5, 101.0):
        session.hear(MessageType.NCMD, None, rebirth_request(), moment)
        assert session.rebirth_at == 100.1 + REBIRTH_WINDOW_S
    give_birth(session, host, "a", monotonic=101.2)
    assert session.rebirths == 2
    session.hear(MessageType.NCMD, None, rebirth_request(), 110.0)
    assert session.rebirth_at == 110.0


def test_request_during_the_births_is_served_after_them() -> None:
    session, host = online(0)
    session.want_rebirth(50.0)
    tell(host, session.node_birth(NOW, []))
    session.hear(MessageType.NCMD, None, rebirth_request(), 50.2)
    session.births_are_out(50.3)
    assert session.state is State.REBIRTHING
    assert session.data(NOW, None, value(1)) is None
    assert session.rebirth_at is not None


def test_other_metrics_of_a_command_are_handed_on() -> None:
    session, _ = online(0, "a")
    other = codec.Metric(name="Setpoints/Mode", value_field=11, value=2)
    payload = codec.Payload(metrics=(*rebirth_request().metrics, other))
    assert session.hear(MessageType.NCMD, None, payload, 1.0) == (other,)
    assert session.hear(MessageType.DCMD, "a", codec.Payload(metrics=(other,)), 1.0) == (other,)


def test_device_cannot_ask_for_the_node_s_rebirth() -> None:
    session, _ = online(0, "a")
    session.hear(MessageType.DCMD, "a", rebirth_request(), 1.0)
    assert session.rebirth_at is None


def own_death(bd_seq: int) -> codec.Payload:
    return codec.decode(Session(NODE).connect(bd_seq, NOW).payload)


def test_own_death_while_online_asks_for_births() -> None:
    session, _ = online(4)
    session.hear(MessageType.NDEATH, None, own_death(3), 1.0)
    assert session.state is State.ONLINE, "an earlier session's will came late"
    session.hear(MessageType.NDEATH, None, own_death(4), 1.0)
    assert session.state is State.REBIRTHING


def test_repeated_own_death_warns_of_a_twin(caplog: pytest.LogCaptureFixture) -> None:
    session, host = online(4)
    for moment in (1.0, 5.0, 9.0):
        session.hear(MessageType.NDEATH, None, own_death(4), moment)
        give_birth(session, host, monotonic=moment)
    assert len(caplog.records) == 1
    assert "second node" in caplog.text


def test_operational_behavior_edge_node_intentional_disconnect_ndeath() -> None:
    """DDEATH of each live device (tck-id-payloads-ddeath-seq-inc), then NDEATH: the bytes of the will."""
    session, host = Session(NODE), Host()
    will = session.connect(3, NOW)
    session.accepted()
    session.subscribed(0.0)
    give_birth(session, host, "a", "b")
    farewell = session.stop(NOW)
    for message in farewell:
        tell(host, message)
    assert host.said[-3:] == ["DDEATH a", "DDEATH b", "NDEATH"]
    assert farewell[-1] == will
    assert not host.is_online
    assert host.broken == []
    assert session.data(NOW, "a", value(1)) is None


def test_own_farewell_heard_back_starts_nothing() -> None:
    session, _ = online(3)
    session.stop(NOW)
    session.hear(MessageType.NDEATH, None, own_death(3), 1.0)
    assert session.rebirth_at is None
    assert session.state is State.STOPPING


def test_node_that_was_never_born_says_no_farewell() -> None:
    session = Session(NODE)
    session.connect(0, NOW)
    assert session.stop(NOW) == []


def test_lost_session_begins_anew_with_all_devices_unborn() -> None:
    session, host = online(0, "a")
    session.lost()
    assert session.born == ()
    assert session.data(NOW, "a", value(1)) is None
    session.connect(1, NOW)
    session.accepted()
    session.subscribed(0.0)
    give_birth(session, host, "a")
    assert host.bd_seq == 1
    assert host.broken == []


class EdgeAndHost(RuleBasedStateMachine):
    """Any order of births, deaths, data, requests, losses: the host never finds a broken rule."""

    def __init__(self) -> None:
        super().__init__()
        self.session, self.host = Session(NODE), Host()
        self.will: Message | None = None
        self.bd_seq, self.clock = 0, 0.0

    @rule()
    def connect(self) -> None:
        if self.session.state is not State.OFFLINE:
            return
        self.will = self.session.connect(self.bd_seq % 256, NOW)
        self.bd_seq += 1
        self.session.accepted()
        self.session.subscribed(self.clock)

    @rule(alive=st.sets(st.sampled_from("abc")), while_birthing=st.booleans())
    def births(self, alive: set[str], while_birthing: bool) -> None:
        if self.session.rebirth_at is None:
            return
        self.clock = max(self.clock, self.session.rebirth_at)
        tell(self.host, self.session.node_birth(NOW, value(0, born=True)))
        if while_birthing:
            self.session.want_rebirth(self.clock)
        for device in sorted(alive):
            tell(self.host, self.session.device_birth(NOW, device, value(0, born=True)))
        self.session.births_are_out(self.clock)

    @rule(device=st.sampled_from([None, "a", "b", "c"]), number=st.integers(-5, 5))
    def data(self, device: str | None, number: int) -> None:
        message = self.session.data(NOW, device, value(number))
        if message is not None:
            tell(self.host, message)

    @rule(device=st.sampled_from("abc"))
    def device_goes_or_comes(self, device: str) -> None:
        if self.session.state is not State.ONLINE:
            return
        if self.session.is_born(device):
            tell(self.host, self.session.device_death(NOW, device))
        else:
            tell(self.host, self.session.device_birth(NOW, device, value(0, born=True)))

    @rule(passed=st.floats(0, 2))
    def request(self, passed: float) -> None:
        self.clock += passed
        self.session.hear(MessageType.NCMD, None, rebirth_request(), self.clock)

    @rule(graceful=st.booleans())
    def end(self, graceful: bool) -> None:
        if self.session.state is State.OFFLINE:
            return
        if graceful:
            for message in self.session.stop(NOW):
                tell(self.host, message)
        elif self.will is not None:
            tell(self.host, self.will)
        self.session.lost()

    @invariant()
    def host_found_nothing_broken(self) -> None:
        assert self.host.broken == []

    @invariant()
    def host_knows_who_lives(self) -> None:
        if self.session.state is State.ONLINE:
            assert set(self.session.born) == set(self.host.tags) - self.host.dead - {""}


TestEdgeAndHost = EdgeAndHost.TestCase
TestEdgeAndHost.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
