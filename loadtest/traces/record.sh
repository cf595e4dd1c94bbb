#!/bin/bash
# Records vp8.txt: the sizes of the frames of a real encoder (libvpx in real time, three temporal
# layers, a keyframe now and then), in thousandths of the mean. Needs ffmpeg.
set -euo pipefail
cd "$(dirname "$0")"
file=$(mktemp --suffix=.ivf)
trap 'rm -f "$file"' EXIT
layers=ts_number_layers=3:ts_target_bitrate=200,300,500:ts_rate_decimator=4,2,1:ts_periodicity=4
ffmpeg -hide_banner -loglevel error -y \
  -f lavfi -i "testsrc2=size=640x360:rate=30,noise=alls=6:allf=t" -t 30 \
  -c:v libvpx -deadline realtime -cpu-used 8 -lag-in-frames 0 -g 9999 -force_key_frames "expr:gte(t,n_forced*6)" \
  -b:v 500k -minrate 500k -maxrate 500k -bufsize 300k \
  -ts-parameters "$layers:ts_layer_id=0,2,1,2:ts_layering_mode=3" "$file"
ffprobe -loglevel error -show_entries packet=size,flags -of csv=p=0 "$file" | awk -F, '
  { size[NR] = $1; key[NR] = $2 ~ /K/; total += $1 }
  END {
    print "# Frames of libvpx: layer (K keyframe, 0 to 2 temporal) and size in thousandths of the mean."
    split("0 2 1 2", layer, " ")
    for (n = 1; n <= NR; n++) {
      if (key[n]) first = n
      print (key[n] ? "K" : layer[(n - first) % 4 + 1]), int(size[n] * 1000 * NR / total)
    }
  }' > vp8.txt
wc -l vp8.txt
