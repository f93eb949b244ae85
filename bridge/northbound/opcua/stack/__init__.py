"""Everything that touches asyncua's private names, and nothing else.

    socket -> GuardedProtocol -> GuardedProcessor -> GuardedSession -> space, subscriptions, writes

asyncua is one project's server, written to be extended by its examples rather than by its seams; what a hostile network
and 30 000 updates a second need sits behind names it may rename in any minor. So: one package, a version guard
(`version.check`), and one test per private name (tests/northbound/opcua/test_contract.py).
"""
