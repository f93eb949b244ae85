"""StatusCode: the small named subset of OPC UA status codes that plantbridge uses inside.

Source: OPC UA Part 4, 7.39, and Part 6 Annex A (StatusCode.csv). Which situation gets which code
is fixed in design.md section 5. The Sparkplug and UNS views are derived in `bridge.model.quality`.
"""

from __future__ import annotations

from enum import IntEnum


class StatusCode(IntEnum):
    """OPC UA status code; the two top bits are the severity (00 Good, 01 Uncertain, 10 Bad)."""

    Good = 0x00000000
    GoodClamped = 0x00300000
    GoodCompletesAsynchronously = 0x002E0000

    UncertainNoCommunicationLastUsableValue = 0x408F0000
    UncertainLastUsableValue = 0x40900000
    UncertainSubstituteValue = 0x40910000
    UncertainInitialValue = 0x40920000
    UncertainSensorNotAccurate = 0x40930000
    UncertainEngineeringUnitsExceeded = 0x40940000
    UncertainSubNormal = 0x40950000

    BadCommunicationError = 0x80050000
    BadDecodingError = 0x80070000
    BadTimeout = 0x800A0000
    BadTooManyOperations = 0x80100000
    BadUserAccessDenied = 0x801F0000
    BadRequestCancelledByClient = 0x802C0000
    BadNoCommunication = 0x80310000
    BadWaitingForInitialData = 0x80320000
    BadNotWritable = 0x803B0000
    BadOutOfRange = 0x803C0000
    BadNotSupported = 0x803D0000
    BadNotFound = 0x803E0000
    BadTypeMismatch = 0x80740000
    BadConfigurationError = 0x80890000
    BadNotConnected = 0x808A0000
    BadDeviceFailure = 0x808B0000
    BadSensorFailure = 0x808C0000
    BadOutOfService = 0x808D0000
    BadNoData = 0x809B0000
    BadInvalidArgument = 0x80AB0000
    BadInvalidState = 0x80AF0000

    @property
    def is_good(self) -> bool:
        """The value may be used."""
        return self < 0x40000000

    @property
    def is_uncertain(self) -> bool:
        """The value is the last one known, or doubtful; it is kept."""
        return 0x40000000 <= self < 0x80000000

    @property
    def is_bad(self) -> bool:
        """There is no value."""
        return self >= 0x80000000
