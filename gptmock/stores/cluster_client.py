"""
The client of a Redis Cluster. It completes redis-py's asyncio client in two places:

- redis-py sends ``ASKING`` and the command after it on two connections of a pool. The node then refuses the command, so
  while a slot moves, its keys cannot be reached. Here both are sent on one connection.
- A pipeline that cannot reach a node does not make redis-py read the map of the slots anew. ``reread`` does, from every
  node that is known, so that it also works when the nodes of the URL are down.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import PipelineCommand
from redis.exceptions import AskError, ClusterError

_FIRST_KEY = {"EVAL": 3, "EVALSHA": 3}
"""The position of the first key in a command's words; 1 in all others that the store sends."""


class ClusterClient(RedisCluster):
    """``RedisCluster`` that follows ``ASK``, and reads the map of the slots without closing connections in use."""

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """
        Run one command on the node that has its key.

        Raises:
            RedisError: as redis-py does.
        """
        try:
            return await super().execute_command(*args, **kwargs)
        except ClusterError as error:
            # Redirected until redis-py gave up. This has no type of its own; subclasses mean something else.
            if type(error) is not ClusterError or "target_nodes" in kwargs:
                raise
            return await self._follow(args, kwargs)

    async def reread(self) -> None:
        """
        Read the map of the slots. Commands that are running are not interrupted.

        Raises:
            RedisError: no known node answers, or a slot has no master.
        """
        # The URL's nodes stay among them: they may be names whose addresses change.
        given = {node.name: node for node in self.startup_nodes}
        self.nodes_manager.startup_nodes = {node.name: node for node in self.get_nodes()} | given
        await self.nodes_manager.initialize()

    async def _follow(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        source: Any = self.get_node_from_key(args[_FIRST_KEY.get(args[0], 1)])
        try:
            return await source.execute_command(*args, **kwargs)
        except AskError as ask:
            target = self.get_node(ask.host, ask.port)
            if target is None:
                raise
            asking, command = PipelineCommand(0, "ASKING"), PipelineCommand(1, *args, **kwargs)
            await target.execute_pipeline([asking, command])
            if isinstance(command.result, Exception):
                raise command.result from None
            return command.result
