"""Proof runs: the same prompts on several lanes, judged blind on a page of this machine, and what an accepted image costs.

The order is that of a trial: :mod:`~gateway.trial.plan` reads what is asked, :mod:`~gateway.trial.drawing` has it drawn,
:mod:`~gateway.trial.desk` takes the verdicts that :mod:`~gateway.trial.server` brings from the page,
:mod:`~gateway.trial.report` adds up, :mod:`~gateway.trial.stopping` recommends, and :mod:`~gateway.trial.lessons` hands the
verdicts to the router. All of it is kept in one folder by :mod:`~gateway.trial.journal`.
"""
