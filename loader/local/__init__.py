"""A real OpenSearch node and an emulator of S3, SQS and SNS on loopback, without Docker, Maven or an AWS account."""
