#!/usr/bin/env bash
# Measure what the documents show: write benchmarks/results/*.json, then render docs/*.md.
#
#   benchmarks/run_all.sh                    everything, one after another; forty minutes on two cores
#   benchmarks/run_all.sh search tagging     some of them, by name
#   DATA=FOLDER WORK=FOLDER PYTHON=... benchmarks/run_all.sh
#
# DATA holds corel5k/, voc300/, backbones/ and label_tables/. WORK keeps the model and the libraries
# that the Corel-5k run makes; pooling-corel5k and panoramas read that model, so corel5k comes first.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
data=${DATA:-../shared/data}
work=${WORK:-runs}
names=(
  first_search search retrieval tagging indexing decoding path_filter row_checksums
  training_step
  corel5k pooling-corel5k pooling-demo pooling_speed panoramas miniatures anchor_cost
  local_vectors patch_distillation teacher_anchor
  tag_rules probability_cost
  ablations model_speed templates projection encode_shards
)

measure() {
  local json=(--json "benchmarks/results/$1.json")
  local one_thread=(env OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$python")
  case "$1" in
    first_search) "$python" benchmarks/first_search.py "${json[@]}" ;;
    search) "$python" benchmarks/search.py --photos 5000 "${json[@]}" ;;
    retrieval)
      "${one_thread[@]}" benchmarks/retrieval.py --photos 100000 \
        --rows exact,candidates,several,filters "${json[@]}" ;;
    tagging) "${one_thread[@]}" benchmarks/tagging.py --photos 2000 --photos 6000 "${json[@]}" ;;
    indexing) "$python" benchmarks/indexing.py --data "$data" "${json[@]}" ;;
    decoding) "${one_thread[@]}" benchmarks/decoding.py "${json[@]}" ;;
    path_filter) "${one_thread[@]}" benchmarks/path_filter.py "${json[@]}" ;;
    row_checksums) "${one_thread[@]}" benchmarks/row_checksums.py "${json[@]}" ;;
    training_step)
      env GOMP_SPINCOUNT=20000 "$python" benchmarks/training_step.py --small --rounds 7 "${json[@]}" ;;
    ablations)
      "${one_thread[@]}" benchmarks/ablations.py --work "$work/ablations" \
        --label-table "$data/label_tables/glove_300d_names.npz" "${json[@]}" ;;
    corel5k)
      "$python" benchmarks/corel5k.py --data "$data" --work "$work/corel5k" --seeds 1 "${json[@]}" ;;
    templates) "${one_thread[@]}" benchmarks/templates.py "${json[@]}" ;;
    projection) "${one_thread[@]}" benchmarks/projection.py "${json[@]}" ;;
    model_speed) "${one_thread[@]}" benchmarks/model_speed.py "${json[@]}" ;;
    encode_shards) "${one_thread[@]}" benchmarks/encode_shards.py "${json[@]}" ;;
    anchor_cost) "${one_thread[@]}" benchmarks/anchor_cost.py "${json[@]}" ;;
    pooling-corel5k)
      "$python" benchmarks/pooling.py --data "$data" --model "$work/corel5k/seed0/checkpoint" \
        "${json[@]}" ;;
    pooling-demo) "$python" benchmarks/pooling.py --demo "$work/demo-photos" "${json[@]}" ;;
    panoramas)
      "${one_thread[@]}" benchmarks/panoramas.py --data "$data" \
        --model "$work/corel5k/seed0/checkpoint" "${json[@]}" ;;
    miniatures) "${one_thread[@]}" benchmarks/miniatures.py --data "$data" "${json[@]}" ;;
    patch_distillation)
      "${one_thread[@]}" benchmarks/patch_distillation.py --work "$work/patch_distillation" "${json[@]}" ;;
    teacher_anchor)
      "${one_thread[@]}" benchmarks/teacher_anchor.py --work "$work/teacher_anchor" "${json[@]}" ;;
    tag_rules)
      "${one_thread[@]}" benchmarks/tag_rules.py --data "$data" \
        --student "$work/corel5k/seed0/checkpoint" "${json[@]}" ;;
    probability_cost)
      "${one_thread[@]}" benchmarks/probability_cost.py --photos 100000 --base 5000 "${json[@]}" ;;
    local_vectors)
      "${one_thread[@]}" benchmarks/local_vectors.py --work "$work/local_vectors" "${json[@]}" ;;
    pooling_speed)
      env OMP_WAIT_POLICY=PASSIVE "$python" benchmarks/pooling_speed.py "${json[@]}" ;;
    *) echo "no results are called $1; there are ${names[*]}" >&2; exit 2 ;;
  esac
}

if [ $# -eq 0 ]; then set -- "${names[@]}"; fi
for name in "$@"; do
  echo "== $name ($(date +%T))"
  measure "$name"
done
scripts/benchmark_tables
