"""Which of the bridge's metrics are tags of its own, so that every face has them: tag, metric, description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HOUSE: Final = {
    "Updates": ("table_updates_total", "Values that were taken over"),
    "MachinesRefused": ("inventory_refused_total", "Machines that were found and did not fit"),
    "RowTags": ("row_tags", "Tags that appeared with the data"),
    "RowsRefused": ("rows_refused_total", "Rows for more tags than a mapping's limit"),
    "RowsUnreadable": ("rows_unreadable_total", "Rows without a key, or without a scalar for a value"),
    "RowValuesContrary": ("row_values_contrary_total", "Values of another type or unit than their tag has"),
    "AlarmsActive": ("alarms_active", "Alarms that stand"),
    "AlarmsUnacknowledged": ("alarms_unacknowledged", "Alarms that nobody has acknowledged"),
    "Commands": ("journal_begun_total", "Commands that were taken"),
    "CommandsFinished": ("journal_finished_total", "Commands that ended"),
    "CommandsRejected": ("journal_rejected_total", "Commands that were refused"),
    "CommandsUnfinished": ("journal_unfinished", "Commands under way"),
    "CommandsUnknown": ("journal_dead", "Commands nobody knows the outcome of: a person must decide"),
    "RefusalsUnrecorded": ("journal_dropped_total", "Refusals the journal had no time for"),
    "JournalWriteFailures": ("journal_write_failures_total", "How often the journal could not be written"),
    "JournalSetAside": ("journal_set_aside_total", "Entries of the journal that could not be read"),
    "BookingsPending": ("bookings_pending", "Bookings that their vendor does not have yet"),
    "BookingsDelivered": ("bookings_delivered_total", "Bookings that were delivered late"),
    "BookingsRefused": ("bookings_refused_total", "Bookings the vendor refused"),
    "BookingsExpired": ("bookings_expired_total", "Bookings that became too old"),
    "BookingsUnknown": ("bookings_unknown_total", "Bookings nobody knows the outcome of"),
    "BookingsDiscarded": ("bookings_discarded_total", "Bookings a person put aside, or another replaced"),
    "Events": ("log_appended_total", "Events that were kept"),
    "EventsDropped": ("log_dropped_total", "Events that were lost before they were kept"),
    "EventsMissed": ("log_missed_total", "Events that were too old before a face had told them"),
    "EventLogWriteFailures": ("log_write_failures_total", "How often events could not be written"),
    "HistoryRecorded": ("history_recorded_total", "Values that were kept"),
    "HistoryLost": ("history_lost_total", "Values that could not be kept"),
    "HistoryWriteFailures": ("history_write_failures_total", "How often the history could not be written"),
    "HistoryBytes": ("history_bytes", "Size of the history on disk"),
}
FACES: Final = {
    "opcua": {
        "Sessions": ("opcua_sessions", "Clients that are there"),
        "Subscriptions": ("opcua_subscriptions", "Subscriptions of all clients"),
        "MonitoredItems": ("opcua_monitored_items", "Monitored items of all subscriptions"),
    },
    "sparkplug": {
        "Online": ("sparkplug_online", "1 while the edge node is born"),
        "Messages": ("sparkplug_messages_total", "Messages that were published"),
        "Rebirths": ("sparkplug_rebirths_total", "Rebirths that hosts asked for"),
        "Reconnects": ("sparkplug_reconnects_total", "How often the connection was made anew"),
        "Malformed": ("sparkplug_malformed_total", "Messages of others that are not understood"),
        "Commands": ("sparkplug_commands_total", "NCMD and DCMD that came"),
        "CommandErrors": ("sparkplug_command_errors_total", "Those that did not end well"),
    },
    "uns": {
        "Online": ("uns_connected", "1 while connected to the broker"),
        "Topics": ("uns_topics", "Topics of values"),
        "Messages": ("uns_published_total", "Values that were published"),
        "Events": ("uns_events_total", "Events that were published"),
        "BackfillValues": ("uns_backfill_values_total", "Values that were told later"),
        "BackfillGaps": ("uns_backfill_gaps_total", "Gaps that were told"),
        "Reconnects": ("uns_reconnects_total", "How often the connection was made anew"),
        "Refused": ("uns_refused", "Topics the broker refuses"),
        "Commands": ("uns_commands_total", "Commands that came"),
        "CommandErrors": ("uns_command_errors_total", "Those that did not end well"),
        "CommandsWaiting": ("uns_commands_waiting", "Commands that are not answered yet"),
    },
}
BROKER: Final = {
    "Connections": ("broker_connections", "Clients of the embedded broker"),
    "Retained": ("broker_retained", "Messages the embedded broker retains"),
    "Messages": ("broker_messages_total", "Messages the embedded broker took"),
    "SlowSubscribers": ("broker_slow_subscribers_total", "Subscribers that were cut off because they were slow"),
    "RefusedRetained": ("broker_refused_retained_total", "Retained messages there was no room for"),
}
NOT_SHOWN: Final = {
    "plant_machines": "Machines, without the bridge itself",
    "plant_tags": "Tags, with the bridge's own",
    "event_loop_longest_stall_seconds": "Longest time in which nothing else was done, since the start was over",
    "event_loop_longest_stall_busy_seconds": "Processor time in the longest of these stalls",
    "journal_commits_total": "Transactions of the journal",
    "journal_pruned_total": "Old commands that were taken out of the journal",
    "journal_forgotten_total": "Ids of commands that are too old to be known again",
    "journal_known": "Ids of commands that would be known again",
    "journal_pending": "Entries that are not on disk yet",
    "log_pruned_total": "Old events that were taken out of the log",
    "log_pending": "Events that are not on disk yet",
    "history_pruned_total": "Old values that were taken out of the history",
    "history_pending": "Values that are not on disk yet",
    "history_owed_opcua": "Values the history keeps for the OPC UA server",
    "history_owed_sparkplug": "Values the history keeps until Sparkplug hosts have them",
    "history_owed_uns": "Values the history keeps until MQTT clients have them",
    "uns_backfill_skipped_total": "Late values that were not told, since newer ones had been",
    "uns_snapshots_total": "Snapshots that were asked for",
    "uns_snapshots_refused_total": "Snapshots that were refused",
    "schema_drift_total": "Fields of vendors' answers that are new, gone or of another kind since the start",
}
"""Metrics that only help whoever looks for a fault in the bridge itself; those of Prometheus are more, and finer."""

Counter = tuple[str, str, str]
"""Tag, metric and description."""


def counters(faces: Iterable[str], *, has_broker: bool) -> Iterator[Counter]:
    """The tags of a bridge with these faces."""
    groups = {"Counters": HOUSE, **{f"Faces/{name}": FACES[name] for name in faces}}
    if has_broker:
        groups["Broker"] = BROKER
    for group, members in groups.items():
        for name, (metric, description) in members.items():
            yield f"{group}/{name}", metric, description


DESCRIPTIONS: Final = {
    **{metric: text for group in (HOUSE, *FACES.values(), BROKER) for metric, text in group.values()},
    **NOT_SHOWN,
}
"""Every metric of the house, by its name."""
