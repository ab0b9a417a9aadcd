"""What a night tells GitHub: one issue for each trouble, closed when it is gone.

:mod:`troubles` and :mod:`deciding` are pure; :mod:`github` is asked by :mod:`applying` and
:mod:`lastresults` alone.
"""
