"""A SIEM for AWS CloudTrail on OpenSearch and Elasticsearch."""
