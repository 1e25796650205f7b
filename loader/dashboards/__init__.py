"""Saved dashboards: built from ``dashboards/src``, checked against ``mappings/``, pushed to OpenSearch Dashboards.

The way in: ``build.build_all()``, ``build.write()``, ``check.check()``, ``push.push()``.
"""
