#!/usr/bin/env bash
# The preparation as one job of EMR Serverless, without the state machine. `emr/submit.sh --help` says what that leaves out.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: emr/submit.sh --stack NAME [options] SOURCE

Prepare SOURCE with `aws emr-serverless start-job-run`, and follow the job to its end.

  SOURCE             the name of a drop (the folder raw/<drop>/ of the data bucket), or an s3:// URI
  --stack NAME       the stack: its function start-preparation has the application, role, code and limits of the job
  --items URI        the catalogue, if it is not in SOURCE
  --parameters JSON  as in the input of the state machine: '{"split": "global-time"}'
  --attempt N        1 by default; the same SOURCE and N are the same job, which is started once. After a failure: 2

The AWS CLI is called with your profile, region and endpoint (AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL). You need
cloudformation:DescribeStackResource, lambda:GetFunctionConfiguration, s3:ListBucket and s3:GetObject on SOURCE,
dynamodb:GetItem, emr-serverless:StartJobRun and GetJobRun, and iam:PassRole for the role of the job.

Exit status: 0 the dataset version is written; 1 the job failed; 2 SOURCE or an option is refused; 3 the job was
cancelled; 130 you stopped following (the job goes on); any other: that of the AWS CLI.

What it leaves out. The state machine (an empty raw/<drop>/_SUCCESS starts it) claims the version in the ledger, unites
an append or a day of live events with its history, retries when there is no capacity, stops the job when it is
aborted, and notifies of a failure with its reason. Here all of that is yours. In both ways the manifest of the version
starts the retraining.
TEXT
}

refuse() { echo "emr/submit.sh: $1 (--help has the usage)" >&2; exit 2; }

stack='' items='' parameters='' attempt=1 source=''
while (($#)); do
    case $1 in
        -h | --help) usage; exit ;;
        --stack | --items | --parameters | --attempt)
            (($# > 1)) || refuse "$1 needs a value"
            printf -v "${1#--}" %s "$2"; shift ;;
        -*) refuse "$1 is not an option" ;;
        *) [[ -z $source ]] || refuse "$1 is one SOURCE too many: it is $source already"; source=$1 ;;
    esac
    shift
done
[[ -n $stack ]] || refuse '--stack is missing: the name of the stack, such as ncf-dev'
[[ -n $source ]] || refuse 'SOURCE is missing: the name of a drop, or an s3:// URI'
[[ $attempt =~ ^[1-9][0-9]{0,3}$ ]] || refuse "--attempt must be a number from 1 to 9999, not $attempt"
command -v aws >/dev/null || refuse 'the command aws is missing: install the AWS CLI'
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python
[[ -x $python ]] || python=python3

# The job's application, role, code and limits are in one place: the environment of the function that starts it.
function=$(aws cloudformation describe-stack-resource --stack-name "$stack" --output text \
    --logical-resource-id StartPreparationFunction --query StackResourceDetail.PhysicalResourceId)
environment=$(aws lambda get-function-configuration --function-name "$function" --query Environment.Variables --output json)
places=$(aws lambda get-function-configuration --function-name "$function" --output text \
    --query 'Environment.Variables.[DATA_BUCKET, RUNS_TABLE]')
read -r data_bucket table <<<"$places"

folder=$source
[[ $source == *://* ]] || folder=s3://$data_bucket/raw/${source%/}/
path=${folder#s3://}
bucket=${path%%/*} prefix=${path#*/}
files=$(aws s3api list-objects-v2 --bucket "$bucket" --prefix "$prefix" --query 'Contents[].[LastModified,Key]' --output text)
written_at=$(cut -f 1 <<<"$files" | sort | tail -n 1)
[[ -n $written_at && $written_at != None ]] || refuse "$folder has no files: upload them, or correct SOURCE"
said=''
if grep -qF "${prefix%/}/_drop.json" <<<"$files"; then
    said=$(aws s3 cp "s3://$bucket/${prefix%/}/_drop.json" -)
fi
newest=$(aws dynamodb get-item --table-name "$table" --query Item.datasetVersion.S --output text \
    --key '{"pk": {"S": "DATASET"}, "sk": {"S": "NEWEST_CLAIMED"}}')

request=$(PYTHONPATH=$root:$root/functions "$python" -m start_preparation.by_hand <<<"$environment" \
    --source="$folder" --written-at="$written_at" --said="$said" --items="$items" --parameters="$parameters" \
    --newest-version="$newest" --attempt="$attempt")

started=$(aws emr-serverless start-job-run --cli-input-json "$request" --query '[applicationId, jobRunId]' --output text)
read -r application job <<<"$started"
echo "job run $job of application $application"
trap 'echo >&2; echo "the job goes on; stop it with: aws emr-serverless cancel-job-run --application-id $application --job-run-id $job" >&2; exit 130' INT

before=''
while :; do
    found=$(aws emr-serverless get-job-run --application-id "$application" --job-run-id "$job" --output text \
        --query 'jobRun.[state, name, stateDetails]')
    IFS=$'\t' read -r state name details <<<"$found"
    [[ $state == "$before" ]] || echo "$(date -u +%T) $state"
    before=$state
    case $state in
        SUCCESS) echo "✓ s3://$data_bucket/datasets/${name: -26}/"; exit ;;
        FAILED) echo "✗ $details" >&2; exit 1 ;;
        CANCELLED) echo "✗ the job was cancelled" >&2; exit 3 ;;
    esac
    sleep 5
done
