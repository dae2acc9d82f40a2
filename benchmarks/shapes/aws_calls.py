"""API calls that fill the made-up CloudTrail log: names, requests and responses as JSON text."""

from benchmarks.shapes.aws_account import ACCOUNT

DESCRIBE = (
    ("DescribeInstances", '{"maxResults":1000,"instancesSet":{},"filterSet":{}}'),
    ("DescribeInstanceStatus", '{"instancesSet":{},"filterSet":{},"includeAllInstances":false}'),
    (
        "DescribeVolumes",
        (
            '{"maxResults":500,"volumeSet":{},"filterSet":{"items":[{"name":"status",'
            '"valueSet":{"items":[{"value":"in-use"}]}}]}}'
        ),
    ),
    (
        "DescribeSecurityGroups",
        (
            '{"securityGroupSet":{},"securityGroupIdSet":{},"filterSet":{"items":'
            '[{"name":"vpc-id","valueSet":{"items":[{"value":"vpc-0a1b2c3d4e5f60718"}]}}]}}'
        ),
    ),
    ("DescribeSubnets", '{"subnetSet":{},"filterSet":{}}'),
    ("DescribeRouteTables", '{"routeTableIdSet":{},"filterSet":{}}'),
    ("DescribeVpcs", '{"vpcSet":{},"filterSet":{}}'),
    ("DescribeNetworkInterfaces", '{"networkInterfaceIdSet":{},"filterSet":{}}'),
    (
        "DescribeTags",
        (
            '{"maxResults":1000,"filterSet":{"items":[{"name":"resource-type","valueSet":'
            '{"items":[{"value":"instance"}]}}]}}'
        ),
    ),
    ("DescribeRegions", '{"regionSet":{}}'),
    (
        "DescribeSnapshots",
        (
            '{"maxResults":1000,"snapshotSet":{},"ownersSet":{"items":[{"owner":"self"}]},'
            '"sharedUsersSet":{},"filterSet":{}}'
        ),
    ),
    (
        "DescribeImages",
        (
            '{"executableBySet":{},"imagesSet":{},"ownersSet":{"items":[{"owner":"self"}]},'
            '"filterSet":{}}'
        ),
    ),
)
BUCKETS = tuple(
    f"acme-{part}-{ACCOUNT}"
    for part in (
        "logs",
        "artifacts",
        "backups",
        "data-lake",
        "exports",
        "terraform-state",
        "static-site",
        "invoices",
    )
)
BUCKET_READS = (
    ("GetBucketAcl", "acl"),
    ("GetBucketLocation", "location"),
    ("GetBucketPolicy", "policy"),
    ("GetBucketEncryption", "encryption"),
    ("GetBucketVersioning", "versioning"),
    ("GetBucketTagging", "tagging"),
    ("GetBucketPublicAccessBlock", "publicAccessBlock"),
)
PLAIN_READS = (
    ("iam", "GetRole", '{"roleName":"eks-node-group"}'),
    ("iam", "ListAttachedRolePolicies", '{"roleName":"checkout-task"}'),
    ("iam", "GetUser", '{"userName":"svc-backup"}'),
    (
        "iam",
        "GetPolicyVersion",
        f'{{"policyArn":"arn:aws:iam::{ACCOUNT}:policy/app","versionId":"v3"}}',
    ),
    ("sts", "GetCallerIdentity", "null"),
    (
        "logs",
        "DescribeLogStreams",
        (
            '{"logGroupName":"/aws/lambda/payments","orderBy":"LastEventTime",'
            '"descending":true,"limit":50}'
        ),
    ),
    ("logs", "DescribeLogGroups", '{"logGroupNamePrefix":"/aws/eks/","limit":50}'),
    (
        "logs",
        "CreateLogStream",
        (
            '{"logGroupName":"/aws/lambda/payments",'
            '"logStreamName":"2025/03/03/[$LATEST]4f0c2f9e0b5d4d0c8f1a"}'
        ),
    ),
    ("ecr", "GetAuthorizationToken", "null"),
    (
        "ecr",
        "BatchGetImage",
        (
            f'{{"registryId":"{ACCOUNT}","repositoryName":"checkout-api","imageIds":'
            '[{"imageTag":"3f2a9c1"}],"acceptedMediaTypes":["application/vnd.oci.image.manifest.v1+json"]}'
        ),
    ),
    ("lambda", "ListFunctions20150331", "null"),
    ("lambda", "GetFunction20150331v2", '{"functionName":"payments-handler"}'),
    ("monitoring", "DescribeAlarms", '{"maxRecords":100,"stateValue":"ALARM"}'),
    ("dynamodb", "DescribeTable", '{"tableName":"carts"}'),
    (
        "ssm",
        "GetParameters",
        ('{"names":["/app/checkout/db-url","/app/checkout/db-user"],"withDecryption":true}'),
    ),
    (
        "ssm",
        "DescribeParameters",
        '{"parameterFilters":[{"key":"Path","values":["/app"]}],"maxResults":50}',
    ),
    (
        "elasticloadbalancing",
        "DescribeTargetHealth",
        (
            '{"targetGroupArn":"arn:aws:elasticloadbalancing:'
            f'eu-west-1:{ACCOUNT}:targetgroup/web/6d0ecf831eec9f09"}}'
        ),
    ),
    ("rds", "DescribeDBInstances", '{"maxRecords":100}'),
    ("eks", "DescribeCluster", '{"name":"prod"}'),
    (
        "sqs",
        "GetQueueAttributes",
        (
            f'{{"queueUrl":"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/orders",'
            '"attributeNames":["ApproximateNumberOfMessages"]}'
        ),
    ),
    ("autoscaling", "DescribeAutoScalingGroups", '{"maxRecords":100}'),
    ("tagging", "GetResources", '{"resourcesPerPage":100,"resourceTypeFilters":["ec2:instance"]}'),
)

# What public rules look at, as administrators do it: (service, event, request, response).
ADMIN = (
    (
        "ec2",
        "AuthorizeSecurityGroupIngress",
        (
            '{"groupId":"sg-0f1e2d3c4b5a69788","ipPermissions":{"items":'
            '[{"ipProtocol":"tcp","fromPort":443,"toPort":443,"groups":{},"ipRanges":{"items":'
            '[{"cidrIp":"198.18.4.0/24","description":"office"}]},"ipv6Ranges":{},'
            '"prefixListIds":{}}]}}'
        ),
        '{"requestId":"a6f0d2c1-8a1b-4d59-9f37-3f6b1c2d4e5f","_return":true}',
    ),
    ("ec2", "RevokeSecurityGroupIngress", '{"groupId":"sg-0f1e2d3c4b5a69788"}', '{"_return":true}'),
    (
        "ec2",
        "CreateRoute",
        (
            '{"routeTableId":"rtb-0a1b2c3d","destinationCidrBlock":"10.40.0.0/16",'
            '"transitGatewayId":"tgw-01a2b3c4"}'
        ),
        '{"_return":true}',
    ),
    (
        "s3",
        "PutBucketLogging",
        (
            f'{{"bucketName":"{BUCKETS[3]}","BucketLoggingStatus":{{"LoggingEnabled":'
            f'{{"TargetBucket":"{BUCKETS[0]}","TargetPrefix":"s3/"}}}},"logging":""}}'
        ),
        "null",
    ),
    (
        "iam",
        "CreateAccessKey",
        '{"userName":"svc-etl"}',
        (
            '{"accessKey":{"accessKeyId":'
            '"AKIAIOSFODNN7EXAMPLE","status":"Active","userName":"svc-etl"}}'
        ),
    ),
    ("sts", "GetSessionToken", '{"durationSeconds":43200}', "null"),
    ("securityhub", "BatchUpdateFindings", '{"workflow":{"status":"RESOLVED"}}', "null"),
    (
        "eks",
        "CreateCluster",
        '{"name":"staging"}',
        '{"cluster":{"name":"staging","status":"CREATING"}}',
    ),
    ("s3", "DeleteBucket", '{"bucketName":"acme-scratch"}', "null"),
    (
        "ssm",
        "SendCommand",
        '{"documentName":"AWS-RunPatchBaseline","instanceIds":["i-0a1b2c3d4e5f60718"]}',
        '{"command":{"status":"Pending"}}',
    ),
)
QUIET_ADMIN = (
    ("iam", "CreateUser", '{"userName":"svc-new"}', '{"user":{"path":"/","userName":"svc-new"}}'),
    (
        "iam",
        "AttachRolePolicy",
        (
            '{"roleName":"checkout-task","policyArn":'
            '"arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}'
        ),
        "null",
    ),
    (
        "iam",
        "PutRolePolicy",
        (
            '{"roleName":"checkout-task","policyName":"inline","policyDocument":'
            '"{\\n  \\"Version\\": \\"2012-10-17\\",\\n  \\"Statement\\": [{\\"Effect\\": '
            '\\"Allow\\", '
            '\\"Action\\": [\\"sqs:*\\"], \\"Resource\\": \\"*\\"}]\\n}"}'
        ),
        "null",
    ),
    ("s3", "PutBucketTagging", f'{{"bucketName":"{BUCKETS[1]}","tagging":""}}', "null"),
    (
        "ec2",
        "CreateTags",
        (
            '{"resourcesSet":{"items":[{"resourceId":"i-0a1b2c3d4e5f60718"}]},"tagSet":'
            '{"items":[{"key":"team","value":"atlas"}]}}'
        ),
        '{"_return":true}',
    ),
)
ATTACK = (
    (
        "cloudtrail",
        "StopLogging",
        f'{{"name":"arn:aws:cloudtrail:eu-west-1:{ACCOUNT}:trail/main"}}',
        "null",
    ),
    ("iam", "UpdateLoginProfile", '{"userName":"ana.kovac","passwordResetRequired":false}', "null"),
    (
        "ec2",
        "ModifySnapshotAttribute",
        (
            '{"snapshotId":"snap-066877671789bd71b","createVolumePermission":'
            '{"add":{"items":[{"userId":"999988887777"}]}},"attributeType":"CREATE_VOLUME_PERMISSION"}'
        ),
        '{"_return":true}',
    ),
    (
        "guardduty",
        "CreateIPSet",
        ('{"detectorId":"12abc34d567e8fa901bc2d34e56789f0","format":"Txt","activate":true}'),
        '{"ipSetId":"0cb0141ab9fbde177613ab9436212e90"}',
    ),
    ("secretsmanager", "GetSecretValue", '{"secretId":"prod/payments/db"}', "null"),
)
