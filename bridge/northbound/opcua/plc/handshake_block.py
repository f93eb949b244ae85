"""The function block that drives a command's handshake object, as text that every dialect takes.

             Start                    State is Idle,               RequestId               AckRequestId = RequestId,
                                      Execute reads FALSE          reads back              State is Done or Error
    0 rest --------> 1 is it free? ---------------------> 2 given -------------> 3 executed ---------------------+
      ^                                                                                                          |
      +--------------------------------------- Start is FALSE ------------------------- 4 shown, Execute FALSE <-+

Rules:
1. The block knows no communication. Somebody else writes what it says (arguments, RequestId, Execute: in this order)
   and reads the answer, again and again; how fast does not matter. What it waits for is always something that it
   reads, never the end of a write: so a write that is lost, or done twice, does no harm.
2. Execute is FALSE at rest and is written so: a bridge that was restarted refuses TRUE until it has been given FALSE.
3. The next RequestId is one more than the one the object shows: a PLC that has lost its memory does not use a number
   a second time, and needs no retentive data.
4. It never sends anything a second time by itself. What timed out after Execute is Unknown: a person looks.
"""

from __future__ import annotations

from dataclasses import dataclass

from bridge.model.status import StatusCode
from bridge.model.value import DataType
from bridge.northbound.opcua.handshake import State

BLOCK = "PB_Handshake"
ANSWER_TYPE = "PB_Answer"
TIMEOUT_S = 30
"""Longer than the bridge's own handshake_timeout (10 s by default) with a slow client's cycle."""
LONGEST_TEXT = 254


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the block. `kind` is a DataType, or the word the dialect has for a time or the answer."""

    name: str
    kind: DataType | str
    remark: str


INPUTS = (
    Variable("Start", DataType.Boolean, "TRUE carries the command out, once; keep it until Done or Error"),
    Variable("Linked", DataType.Boolean, "Answer was read without an error since the connection stands"),
    Variable("Answer", "answer", "What the object shows, as it was read last"),
    Variable("Timeout", "time", "Give up after this; longer than the bridge's handshake_timeout"),
)
OUTPUTS = (
    Variable("Execute", DataType.Boolean, "Write it last, all the time, also FALSE"),
    Variable("RequestId", DataType.UInt32, "Write it after the arguments, all the time"),
    Variable("Busy", DataType.Boolean, "It is under way: leave the arguments alone"),
    Variable("Done", DataType.Boolean, "The machine took it; until Start is FALSE"),
    Variable("Error", DataType.Boolean, "It did not, or nobody knows; until Start is FALSE"),
    Variable("Unknown", DataType.Boolean, "With Error: it may have happened; look at the machine"),
    Variable("ErrorCode", DataType.UInt32, "Number of the OPC UA StatusCode; 0 is Good"),
    Variable("VendorCode", DataType.Int32, "HTTP status of the machine's answer; 0 where there was none"),
    Variable("ErrorText", DataType.String, "What happened, in a sentence"),
    Variable("Result", DataType.String, "confirmed, changed, accepted, rejected, refused, unknown, ..."),
)
STATICS = (
    Variable("Phase", "step", "0 rest, 1 is it free?, 2 given, 3 executed, 4 shown"),
    Variable("Watch", "timer", "Time since Start"),
)

_TIMED_OUT = f"16#{int(StatusCode.BadTimeout):08X}"

BODY = f"""\
@Watch(IN := (@Phase > 0) AND (@Phase < 4), PT := @Timeout);
CASE @Phase OF
    0: // rest
        @Execute := FALSE;
        IF @Start THEN
            @Busy := TRUE;
            @Unknown := FALSE;
            @ErrorCode := 0;
            @VendorCode := 0;
            @ErrorText := $'';
            @Result := $'';
            @Phase := 1;
        END_IF;
    1: // is it free? Nobody else's command runs, and Execute has been written FALSE
        @Execute := FALSE;
        IF @Linked AND NOT @Answer.Execute AND (@Answer.State = {State.Idle:d}) THEN
            IF @Answer.AckRequestId = 16#FFFFFFFF THEN
                @RequestId := 1; // 0 means that there is no number
            ELSE
                @RequestId := @Answer.AckRequestId + 1;
            END_IF;
            @Phase := 2;
        END_IF;
    2: // given: the number has arrived, and the arguments before it
        IF @Linked AND (@Answer.RequestId = @RequestId) THEN
            @Execute := TRUE;
            @Phase := 3;
        END_IF;
    3: // executed: the answer is that of this very number
        IF @Linked AND (@Answer.AckRequestId = @RequestId) AND (@Answer.State >= {State.Done:d}) THEN
            @Done := (@Answer.State = {State.Done:d});
            @Error := NOT @Done;
            @ErrorCode := @Answer.ErrorCode;
            @VendorCode := @Answer.VendorCode;
            @ErrorText := @Answer.ErrorText;
            @Result := @Answer.Result;
            @Unknown := (@Answer.Result = $'unknown');
            @Busy := FALSE;
            @Execute := FALSE;
            @Phase := 4;
        END_IF;
    4: // shown
        @Execute := FALSE;
        IF NOT @Start THEN
            @Done := FALSE;
            @Error := FALSE;
            @Phase := 0;
        END_IF;
END_CASE;
IF @Watch.Q AND (@Phase > 0) AND (@Phase < 4) THEN
    @Unknown := (@Phase = 3);
    @ErrorCode := {_TIMED_OUT}; // BadTimeout
    @ErrorText := $'No answer in time; with Unknown it may have been carried out';
    @Error := TRUE;
    @Busy := FALSE;
    @Execute := FALSE;
    @Phase := 4;
END_IF;
"""
"""The statements. "@" stands before each of the block's own variables, "$" before each text."""
