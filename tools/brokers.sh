#!/bin/sh
# Install the servers that tests let `serve` fetch from, into build/brokers: Apache Kafka (its jars
# from Maven Central), nats-server and Versity's S3 gateway (from the Go module proxy).
# What cannot be had is left out; tests that need it are skipped, and say so.
set -u
cd "$(dirname "$0")/.."
mkdir -p build/brokers/kafka build/brokers/bin
cd build/brokers

go_install() {
  [ -x "bin/$1" ] && return
  command -v go >/dev/null || { echo "no go: tests with $1 are skipped"; return; }
  GOBIN="$PWD/bin" go install "$2" >/dev/null 2>&1 || echo "$1 could not be built"
}

if [ ! -d kafka/lib ]; then
  if command -v mvn >/dev/null && command -v java >/dev/null; then
    cat >kafka/pom.xml <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>trailhound.tests</groupId><artifactId>kafka</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.1.0</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
POM
    (cd kafka && mvn -q -B dependency:copy-dependencies -DincludeScope=runtime \
      -DoutputDirectory=new >/dev/null 2>&1 && mv new lib) || echo 'Kafka could not be fetched'
  else
    echo 'no mvn and java: tests with Kafka are skipped'
  fi
fi
go_install nats-server github.com/nats-io/nats-server/v2@v2.15.2
go_install versitygw github.com/versity/versitygw/cmd/versitygw@v1.8.0
