#!/usr/bin/env bash
# Writes a configuration as the 51 lines that Paddle's own TIPC scripts read by number, of one mode:
# bash test_tipc/official_config.sh CONFIG MODE > FILE
#
# What our scripts add by mode (data set, images, first weights) stands in the commands there, and
# what they choose by the entry of gpu_list (main_multi_gpu.py, the device) runs on each.
set -euo pipefail
cd "$(dirname "$0")/.."
. test_tipc/common_func.sh
[ $# -eq 2 ] || die "usage: bash test_tipc/official_config.sh CONFIG MODE; modes: $MODES"
read_config "$1" "$2"

train_data="--dataset $(data_set train)"
infer_data="--dataset $(data_set infer)"
images=$(mode_value_at 11)
if [ "$MODE" = whole_infer ] || [ "$(data_set train)" = "$(data_set infer)" ]; then
    infer_data="$infer_data $(flag "$(key_at 11)" "$images")"
fi
train_data="$train_data $(flag "$(key_at 11)" "$images")"
[[ $MODE != lite_* ]] || train_data="$train_data --backbone-weights none"
epoch=null batch=null
if [ "$MODE" != whole_infer ]; then
    epoch=$MODE=$(mode_value_at 6) batch=$MODE=$(mode_value_at 8)
fi
train=$(value_at 14)
device=$(value_at 5)
device=${device//False/cpu}
# Flags of the inference that have lines of their own there.
inference=" $(value_at 27) "
[[ $inference =~ --enable-mkldnn\ ([^ ]+) ]] && mkldnn=${BASH_REMATCH[1]}
[[ $inference =~ --cpu-threads\ ([^ ]+) ]] && threads=${BASH_REMATCH[1]}
for word in "--enable-mkldnn ${mkldnn:=True}" "--cpu-threads ${threads:=1}"; do
    inference=${inference/ $word / }
done
inference=${inference## }
weights=$(value_at 24)

cat <<END
===========================train_params===========================
model_name:$(value_at 2)
python:$(value_at 3)
gpu_list:$(value_at 4)
--device:${device//True/gpu}
null:null
$(key_at 6):$epoch
$(key_at 7):$(value_at 7)
$(key_at 8):$batch
$(key_at 9):$(value_at 9)
train_model_name:$(value_at 10)
train_infer_img_dir:$(mode_value_at 31)
null:null
##
trainer:$(value_at 13)
$(value_at 13):${train/main_single_gpu/main_multi_gpu} $train_data
pact_train:null
fpgm_train:null
distill_train:null
null:null
null:null
##
===========================eval_params===========================
eval:$(value_at 17) $infer_data --output-dir $(value_at 7)
null:null
##
===========================infer_params===========================
$(key_at 20):$(value_at 20)
$(key_at 21):
norm_export:$(value_at 22) --dataset $(data_set infer)
quant_export:null
fpgm_export:null
distill_export:null
export1:null
export2:null
inference_dir:null
train_model:${weights%.pdparams}
infer_export:$(value_at 25) --dataset $(data_set infer)
infer_quant:False
inference:$inference$infer_data --save-path $(value_at 7)
$(key_at 28):$(value_at 28)
--enable-mkldnn:$mkldnn
--cpu-threads:$threads
$(key_at 29):$(value_at 29)
--use-tensorrt:False
--precision:fp32
$(key_at 30):$(value_at 30)
$(key_at 31):$(mode_value_at 31)
null:null
$(key_at 32):$(value_at 32)
null:null
END
