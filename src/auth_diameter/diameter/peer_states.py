"""The table of RFC 6733, 5.6, row by row: states, events and actions of the peer state machine.

I and R, for initiator and responder, say on which connection something happens: on the one that this
node opened, or on the one that the peer opened.
"""

from __future__ import annotations

import enum
from typing import Final, TypeAlias


class Side(enum.Enum):
    """Who opened a connection."""

    INITIATOR = "this node"
    RESPONDER = "the peer"


class MachineState(enum.Enum):
    """The states of 5.6."""

    CLOSED = "Closed"
    WAIT_CONN_ACK = "Wait-Conn-Ack"
    WAIT_I_CEA = "Wait-I-CEA"
    ELECT = "Wait-Conn-Ack/Elect"
    WAIT_RETURNS = "Wait-Returns"
    R_OPEN = "R-Open"
    I_OPEN = "I-Open"
    CLOSING = "Closing"


class MachineEvent(enum.Enum):
    """The events of 5.6 that lead from one state to another, or to an action."""

    START = "Start"
    R_CONN_CER = "R-Conn-CER"
    I_RCV_CONN_ACK = "I-Rcv-Conn-Ack"
    I_RCV_CONN_NACK = "I-Rcv-Conn-Nack"
    I_RCV_CEA = "I-Rcv-CEA"
    I_RCV_NON_CEA = "I-Rcv-Non-CEA"
    I_PEER_DISC = "I-Peer-Disc"
    R_PEER_DISC = "R-Peer-Disc"
    I_RCV_DPR = "I-Rcv-DPR"
    R_RCV_DPR = "R-Rcv-DPR"
    I_RCV_DPA = "I-Rcv-DPA"
    R_RCV_DPA = "R-Rcv-DPA"
    WIN_ELECTION = "Win-Election"
    TIMEOUT = "Timeout"
    STOP = "Stop"


class MachineAction(enum.Enum):
    """The actions of 5.6.3."""

    I_SND_CONN_REQ = "I-Snd-Conn-Req"
    R_ACCEPT = "R-Accept, Process-CER"
    R_REJECT = "R-Reject"
    I_SND_CER = "I-Snd-CER"
    R_SND_CEA = "R-Snd-CEA"
    PROCESS_CEA = "Process-CEA"
    ELECT = "Elect"
    I_SND_DPR = "I-Snd-DPR"
    R_SND_DPR = "R-Snd-DPR"
    I_SND_DPA = "I-Snd-DPA"
    R_SND_DPA = "R-Snd-DPA"
    I_DISC = "I-Disc"
    R_DISC = "R-Disc"
    ERROR = "Error"


Row: TypeAlias = tuple[tuple[MachineAction, ...], MachineState]

_S, _E, _A = MachineState, MachineEvent, MachineAction

#: RFC 6733, 5.6; what is not in it changes nothing. Cleanup is the driver's.
TRANSITIONS: Final[
    dict[tuple[MachineState, MachineEvent], tuple[tuple[MachineAction, ...], MachineState]]
] = {
    (_S.CLOSED, _E.START): ((_A.I_SND_CONN_REQ,), _S.WAIT_CONN_ACK),
    (_S.CLOSED, _E.R_CONN_CER): ((_A.R_ACCEPT, _A.R_SND_CEA), _S.R_OPEN),
    (_S.WAIT_CONN_ACK, _E.I_RCV_CONN_ACK): ((_A.I_SND_CER,), _S.WAIT_I_CEA),
    (_S.WAIT_CONN_ACK, _E.I_RCV_CONN_NACK): ((), _S.CLOSED),
    (_S.WAIT_CONN_ACK, _E.R_CONN_CER): ((_A.R_ACCEPT,), _S.ELECT),
    (_S.WAIT_CONN_ACK, _E.TIMEOUT): ((_A.ERROR,), _S.CLOSED),
    (_S.WAIT_I_CEA, _E.I_RCV_CEA): ((_A.PROCESS_CEA,), _S.I_OPEN),
    (_S.WAIT_I_CEA, _E.R_CONN_CER): ((_A.R_ACCEPT, _A.ELECT), _S.WAIT_RETURNS),
    (_S.WAIT_I_CEA, _E.I_PEER_DISC): ((_A.I_DISC,), _S.CLOSED),
    (_S.WAIT_I_CEA, _E.I_RCV_NON_CEA): ((_A.ERROR,), _S.CLOSED),
    (_S.WAIT_I_CEA, _E.TIMEOUT): ((_A.ERROR,), _S.CLOSED),
    (_S.ELECT, _E.I_RCV_CONN_ACK): ((_A.I_SND_CER, _A.ELECT), _S.WAIT_RETURNS),
    (_S.ELECT, _E.I_RCV_CONN_NACK): ((_A.R_SND_CEA,), _S.R_OPEN),
    (_S.ELECT, _E.R_PEER_DISC): ((_A.R_DISC,), _S.WAIT_CONN_ACK),
    (_S.ELECT, _E.R_CONN_CER): ((_A.R_REJECT,), _S.ELECT),
    (_S.ELECT, _E.TIMEOUT): ((_A.ERROR,), _S.CLOSED),
    (_S.WAIT_RETURNS, _E.WIN_ELECTION): ((_A.I_DISC, _A.R_SND_CEA), _S.R_OPEN),
    (_S.WAIT_RETURNS, _E.I_PEER_DISC): ((_A.I_DISC, _A.R_SND_CEA), _S.R_OPEN),
    (_S.WAIT_RETURNS, _E.I_RCV_CEA): ((_A.PROCESS_CEA, _A.R_DISC), _S.I_OPEN),
    (_S.WAIT_RETURNS, _E.R_PEER_DISC): ((_A.R_DISC,), _S.WAIT_I_CEA),
    (_S.WAIT_RETURNS, _E.R_CONN_CER): ((_A.R_REJECT,), _S.WAIT_RETURNS),
    (_S.WAIT_RETURNS, _E.TIMEOUT): ((_A.ERROR,), _S.CLOSED),
    (_S.R_OPEN, _E.R_CONN_CER): ((_A.R_REJECT,), _S.R_OPEN),
    (_S.R_OPEN, _E.STOP): ((_A.R_SND_DPR,), _S.CLOSING),
    (_S.R_OPEN, _E.R_RCV_DPR): ((_A.R_SND_DPA,), _S.CLOSING),
    (_S.R_OPEN, _E.R_PEER_DISC): ((_A.R_DISC,), _S.CLOSED),
    (_S.I_OPEN, _E.R_CONN_CER): ((_A.R_REJECT,), _S.I_OPEN),
    (_S.I_OPEN, _E.STOP): ((_A.I_SND_DPR,), _S.CLOSING),
    (_S.I_OPEN, _E.I_RCV_DPR): ((_A.I_SND_DPA,), _S.CLOSING),
    (_S.I_OPEN, _E.I_PEER_DISC): ((_A.I_DISC,), _S.CLOSED),
    (_S.CLOSING, _E.I_RCV_DPA): ((_A.I_DISC,), _S.CLOSED),
    (_S.CLOSING, _E.R_RCV_DPA): ((_A.R_DISC,), _S.CLOSED),
    (_S.CLOSING, _E.TIMEOUT): ((_A.ERROR,), _S.CLOSED),
    (_S.CLOSING, _E.I_PEER_DISC): ((_A.I_DISC,), _S.CLOSED),
    (_S.CLOSING, _E.R_PEER_DISC): ((_A.R_DISC,), _S.CLOSED),
    # Not in 5.6: both sides stop at once, so that each gets the other's DPR.
    (_S.CLOSING, _E.I_RCV_DPR): ((_A.I_SND_DPA,), _S.CLOSING),
    (_S.CLOSING, _E.R_RCV_DPR): ((_A.R_SND_DPA,), _S.CLOSING),
    # Nor is this: the peer comes back before the old connection is gone.
    (_S.CLOSING, _E.R_CONN_CER): ((_A.R_REJECT,), _S.CLOSING),
}
