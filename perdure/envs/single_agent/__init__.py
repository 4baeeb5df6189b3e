"""Worlds of one agent."""

from perdure.envs.single_agent.cartpole import CartPole

__all__ = ["CartPole"]
