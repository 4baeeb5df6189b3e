"""Metrics: functions of the scores, and what each of them needs."""
