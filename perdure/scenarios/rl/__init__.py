"""Reinforcement learning: environments as parts of tasks, and what a policy minimises."""

from perdure.scenarios.rl.acting import Acting
from perdure.scenarios.rl.dqn import DQN, Transitions
from perdure.scenarios.rl.hosted import HostRollouts
from perdure.scenarios.rl.ppo import PPO, Rollouts

__all__ = ["DQN", "PPO", "Acting", "HostRollouts", "Rollouts", "Transitions"]
