"""Runs the contract suite of ``gptmock/stores/store.py`` on every store."""

from __future__ import annotations

from tests.stores import contract


class TestRecords(contract.Records):
    pass


class TestLeases(contract.Leases):
    pass


class TestCounters(contract.Counters):
    pass


class TestSlots(contract.Slots):
    pass


class TestQuotas(contract.Quotas):
    pass


class TestLogs(contract.Logs):
    pass


class TestObservations(contract.Observations):
    pass


class TestHandles(contract.Handles):
    pass


class TestCrowds(contract.Crowds):
    pass
