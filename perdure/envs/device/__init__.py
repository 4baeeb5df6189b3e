"""A simulated phone."""

from perdure.envs.device.actions import Action
from perdure.envs.device.oracle import Oracle
from perdure.envs.device.phone import Phone
from perdure.envs.device.task import Task, get_task, templates

__all__ = ["Action", "Oracle", "Phone", "Task", "get_task", "templates"]
