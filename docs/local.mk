# SPDX-License-Identifier: Apache-2.0
# Man pages are written in POD.
