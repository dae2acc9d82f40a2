"""CloudTrail records, as they stand in delivered files.

Two accounts: `lines` is one that works with IAM users and service roles, where about one
record in a hundred fits a public rule. `lines_of_roles` is one that works with assumed roles,
as most do today: there the public rule "AWS STS AssumeRole Misuse" alone fits more than half
of all records, because it asks for no more than a role session.
"""

import re
from collections.abc import Callable, Iterator

from benchmarks.shapes.aws_account import (
    ACCOUNT,
    REGIONS,
    SERVICES,
    Caller,
    build,
    session_token,
    unique_id,
)
from benchmarks.shapes.aws_calls import (
    ADMIN,
    ATTACK,
    BUCKET_READS,
    BUCKETS,
    DESCRIBE,
    PLAIN_READS,
    QUIET_ADMIN,
)
from benchmarks.shapes.dice import Clock, Dice, slots

EVENTS_PER_S = 40.0


class _Log:
    """Draws one record after another."""

    def __init__(self, seed: int, role_share: float) -> None:
        self.dice = Dice(seed)
        self.account = build(self.dice)
        self.clock = Clock(self.dice, EVENTS_PER_S)
        self.role_share = role_share
        self.table: tuple[Callable[[], str], ...] = slots(
            (
                (31.0, self.assume_role),
                (22.0, self.describe),
                (15.0, self.decrypt),
                (9.0, self.bucket_read),
                (19.7, self.plain_read),
                (1.8, self.secret_read),
                (0.6, self.run_instances),
                (0.30, self.quiet_admin),
                (0.24, self.list_buckets),
                (0.24, self.admin),
                (0.08, self.console_login),
                (0.02, self.root),
                (0.02, self.attack),
            )
        )

    def caller(self) -> Caller:
        """A user, or a role session as often as the account works with roles."""
        dice, account = self.dice, self.account
        return dice.pick(account.roles if dice.roll() < self.role_share else account.users)

    def line(
        self,
        caller: Caller,
        service: str,
        name: str,
        request: str,
        response: str = "null",
        *,
        error: str = "",
        added: str = "",
        resources: str = "",
        read_only: bool = True,
        kind: str = "AwsApiCall",
        tls: bool = True,
    ) -> str:
        """Put one record together, its keys in CloudTrail's usual order."""
        dice = self.dice
        moment = self.clock.seconds(self.clock.tick())
        region = dice.pick(REGIONS)
        host = f"{service}.{region}.amazonaws.com"
        modern = dice.roll() < 0.7
        agent = caller.agent.replace("{0}", service)
        cipher = "TLS_AES_128_GCM_SHA256" if modern else "ECDHE-RSA-AES128-GCM-SHA256"
        secured = (
            f',"tlsDetails":{{"tlsVersion":"TLSv1.{3 if modern else 2}","cipherSuite":"{cipher}",'
            f'"clientProvidedHostHeader":"{host}"}}'
            if tls
            else ""
        )
        return (
            f'{{"eventVersion":"1.11","userIdentity":{caller.identity},"eventTime":"{moment}Z",'
            f'"eventSource":"{service}.amazonaws.com","eventName":"{name}","awsRegion":"{region}",'
            f'"sourceIPAddress":"{caller.ip}","userAgent":"{agent}",{error}'
            f'"requestParameters":{request},"responseElements":{response},{added}'
            f'"requestID":"{dice.uuid()}","eventID":"{dice.uuid()}",'
            f'"readOnly":{"true" if read_only else "false"},{resources}"eventType":"{kind}",'
            f'"managementEvent":true,"recipientAccountId":"{ACCOUNT}",'
            f'"eventCategory":"Management"{secured}}}'
        )

    def assume_role(self) -> str:
        dice = self.dice
        service, role, caller_name = dice.pick(SERVICES)
        domain = f"{caller_name}.amazonaws.com"
        caller = Caller(f'{{"type":"AWSService","invokedBy":"{domain}"}}', domain, domain, domain)
        short = role.rsplit("/", 1)[-1]
        session = f"{service}-{dice.hex(16)}"
        arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
        assumed = f"arn:aws:sts::{ACCOUNT}:assumed-role/{short}"
        moment = self.clock.seconds(self.clock.now_us)
        request = f'{{"roleArn":"{arn}","roleSessionName":"{session}","durationSeconds":3600}}'
        response = (
            f'{{"credentials":{{"accessKeyId":"{unique_id(dice, "ASIA")}","sessionToken":'
            f'"{session_token(dice)}","expiration":"{moment}Z"}},'
            '"assumedRoleUser":{"assumedRoleId":'
            f'"{unique_id(dice, "AROA")}:{session}","arn":"{assumed}/'
            f'{session}"}}}}'
        )
        held = f'"resources":[{{"accountId":"{ACCOUNT}","type":"AWS::IAM::Role","ARN":"{arn}"}}],'
        return self.line(caller, "sts", "AssumeRole", request, response, resources=held, tls=False)

    def describe(self) -> str:
        name, request = self.dice.pick(DESCRIBE)
        error = ""
        if self.dice.roll() < 0.03:
            error = (
                '"errorCode":"Client.UnauthorizedOperation","errorMessage":"You are not '
                "authorized to "
                f'perform this operation. User is not authorized to perform: ec2:{name}",'
            )
        return self.line(self.caller(), "ec2", name, request, error=error)

    def decrypt(self) -> str:
        dice = self.dice
        key = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/{dice.uuid()}"
        held = f'"resources":[{{"accountId":"{ACCOUNT}","type":"AWS::KMS::Key","ARN":"{key}"}}],'
        bucket = dice.pick(BUCKETS)
        held_object = f"arn:aws:s3:::{bucket}/part-{dice.hex(8)}.parquet"
        context = f'"encryptionContext":{{"aws:s3:arn":"{held_object}"}}'
        if dice.roll() < 0.6:
            request = f'{{{context},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}}'
            return self.line(self.caller(), "kms", "Decrypt", request, resources=held)
        request = f'{{"keyId":"{key}",{context},"keySpec":"AES_256"}}'
        return self.line(self.caller(), "kms", "GenerateDataKey", request, resources=held)

    def _signed(self) -> str:
        dice = self.dice
        return (
            '"additionalEventData":{"SignatureVersion":"SigV4",'
            '"CipherSuite":"TLS_AES_128_GCM_SHA256",'
            '"bytesTransferredIn":0,"AuthenticationMethod":"AuthHeader",'
            f'"x-amz-id-2":"{dice.hex(72)}=",'
            f'"bytesTransferredOut":{dice.below(9000)}}},'
        )

    def bucket_read(self) -> str:
        name, word = self.dice.pick(BUCKET_READS)
        bucket = self.dice.pick(BUCKETS)
        held = (
            f'"resources":[{{"accountId":"{ACCOUNT}","type":"AWS::S3::Bucket",'
            f'"ARN":"arn:aws:s3:::{bucket}"}}],'
        )
        request = (
            f'{{"bucketName":"{bucket}","Host":"{bucket}.s3.eu-west-1.amazonaws.com","{word}":""}}'
        )
        return self.line(self.caller(), "s3", name, request, added=self._signed(), resources=held)

    def list_buckets(self) -> str:
        request = '{"Host":"s3.eu-west-1.amazonaws.com"}'
        return self.line(
            self.dice.pick(self.account.users), "s3", "ListBuckets", request, added=self._signed()
        )

    def plain_read(self) -> str:
        service, name, request = self.dice.pick(PLAIN_READS)
        error = ""
        if self.dice.roll() < 0.02:
            error = (
                '"errorCode":"AccessDenied","errorMessage":"User is not authorized to perform: '
                f'{service}:{name} because no identity-based policy allows the action",'
            )
        return self.line(self.caller(), service, name, request, error=error)

    def secret_read(self) -> str:
        request = (
            f'{{"secretId":"prod/checkout/{self.dice.pick(("db", "stripe", "smtp", "jwt"))}"}}'
        )
        return self.line(self.caller(), "secretsmanager", "GetSecretValue", request)

    def run_instances(self) -> str:
        dice = self.dice
        number = f"i-0{dice.hex(16)}"
        request = (
            '{"instancesSet":{"items":[{"imageId":"ami-0fed63ea358539e44","minCount":1,'
            '"maxCount":1,'
            '"keyName":"fleet"}]},"instanceType":"m7i.large",'
            '"blockDeviceMapping":{"items":[{"deviceName":'
            '"/dev/xvda","ebs":{"volumeSize":80,"deleteOnTermination":true,"volumeType":"gp3"}}]},'
            '"monitoring":{"enabled":false},"disableApiTermination":false,'
            '"subnetId":"subnet-0a1b2c3d",'
            f'"clientToken":"{dice.uuid()}","tagSpecificationSet":{{"items":[{{"resourceType":"instance",'
            '"tags":[{"key":"aws:autoscaling:groupName","value":"eks-node-group"}]}]}}'
        )
        response = (
            f'{{"requestId":"{dice.uuid()}","reservationId":"r-0{dice.hex(16)}",'
            f'"ownerId":"{ACCOUNT}",'
            f'"groupSet":{{}},"instancesSet":{{"items":[{{"instanceId":"{number}","imageId":'
            '"ami-0fed63ea358539e44","instanceState":{"code":0,"name":"pending"},"privateDnsName":'
            f'"ip-10-0-{dice.below(250)}-{dice.below(250)}.eu-west-1.compute.internal",'
            '"keyName":"fleet",'
            '"amiLaunchIndex":0,"instanceType":"m7i.large","placement":{"availabilityZone":"eu-west-1b",'
            '"tenancy":"default"},"monitoring":{"state":"pending"},'
            '"subnetId":"subnet-0a1b2c3d","vpcId":'
            '"vpc-0a1b2c3d4e5f60718","architecture":"x86_64","rootDeviceType":"ebs",'
            '"hypervisor":"xen"}]}}'
        )
        return self.line(self.caller(), "ec2", "RunInstances", request, response, read_only=False)

    def admin(self) -> str:
        service, name, request, response = self.dice.pick(ADMIN)
        who = self.dice.pick(self.account.people)
        return self.line(who, service, name, request, response, read_only=False)

    def quiet_admin(self) -> str:
        service, name, request, response = self.dice.pick(QUIET_ADMIN)
        return self.line(self.caller(), service, name, request, response, read_only=False)

    def attack(self) -> str:
        service, name, request, response = self.dice.pick(ATTACK)
        return self.line(self.account.intruder, service, name, request, response, read_only=False)

    def root(self) -> str:
        request = '{"maxResults":20}'
        return self.line(self.account.root, "health", "DescribeEventAggregates", request)

    def console_login(self) -> str:
        dice = self.dice
        failed = dice.roll() < 0.2
        mfa = "No" if dice.roll() < 0.15 else "Yes"
        who = dice.pick(self.account.people)
        browser = (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/132.0 Safari"
        )
        identity = re.sub(
            r',"(?:accessKeyId|sessionContext)":(?:"[^"]*"|\{.*\}(?=\}$))', "", who.identity
        )
        added = (
            '"additionalEventData":{"LoginTo":"https://console.aws.amazon.com/console/home?state=hash&'
            f'isauthcode=true","MobileVersion":"No","MFAUsed":"{mfa}"}},'
        )
        return self.line(
            Caller(identity, who.ip, browser, who.name),
            "signin",
            "ConsoleLogin",
            "null",
            f'{{"ConsoleLogin":"{"Failure" if failed else "Success"}"}}',
            error='"errorMessage":"Failed authentication",' if failed else "",
            added=added,
            read_only=False,
            kind="AwsConsoleSignIn",
        )


def _stream(seed: int, role_share: float) -> Iterator[str]:
    log = _Log(seed, role_share)
    table, roll, size = log.table, log.dice.roll, len(log.table)
    while True:
        yield table[int(roll() * size)]()


def lines(seed: int) -> Iterator[str]:
    """Records without end, one JSON line each: an account that works with IAM users."""
    return _stream(seed, 0.006)


def lines_of_roles(seed: int) -> Iterator[str]:
    """Records without end, one JSON line each: an account that works with assumed roles."""
    return _stream(seed, 0.85)


def object_key(record: str, number: int) -> str:
    """Where S3 delivery puts the file whose last record this is."""
    moment = record[record.index('"eventTime":"') + 13 :][:20]
    day, clock = moment[:10], moment[11:16].replace(":", "")
    name = f"{ACCOUNT}_CloudTrail_eu-west-1_{day.replace('-', '')}T{clock}Z_{number:016x}.json.gz"
    return f"AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/{day.replace('-', '/')}/{name}"
