"""Worlds of one agent."""

from perdure.envs.single_agent.acrobot import Acrobot
from perdure.envs.single_agent.cartpole import CartPole
from perdure.envs.single_agent.catch import Catch
from perdure.envs.single_agent.grid_world import GridWorld
from perdure.envs.single_agent.mountain_car import MountainCar
from perdure.envs.single_agent.pendulum import Pendulum
from perdure.envs.single_agent.reacher import Reacher

__all__ = ["Acrobot", "CartPole", "Catch", "GridWorld", "MountainCar", "Pendulum", "Reacher"]
