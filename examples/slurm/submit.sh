#!/bin/bash
# An array job on Slurm: PICTURES, INDEX and OUTPUT are folders that all machines see, or s3://, gs:// or az:// addresses.
#   PICTURES=s3://b/photos INDEX=s3://b/tunes.lance OUTPUT=s3://b/out SLICES=64 ./submit.sh [sbatch's options]
# OPTIONS are more options of compose, such as "--album --max_failures 1%".
# Secrets of a store belong in the environment of whoever submits, or in a file that AWS_SHARED_CREDENTIALS_FILE names.
set -euo pipefail
: "${PICTURES:?}" "${INDEX:?}" "${OUTPUT:?}" "${SLICES:?}"
export PICTURES INDEX OUTPUT SLICES OPTIONS="${OPTIONS:-}"
here=$(dirname "$0")
array=$(sbatch --parsable --array="1-$SLICES" "$@" "$here/compose.sbatch")
# After all slices, whether they ended well or not: it says what is missing, and the same two commands go on from there.
sbatch --dependency="afterany:${array%%;*}" "$here/finish.sbatch"
