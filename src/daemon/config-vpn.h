/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* [vpn NAME] in the configuration: what an administrator says of a VPN (model/vpn.h). */

#include "daemon/config-keys.h"

/* A section begins. */
int config_open_vpn(struct config_reader *r, const struct conf_line *line, struct why *why);

/* A key of it: 0, -ENOENT without a reason when there is none such; or what is wrong with the value. */
int config_set_vpn(struct config_reader *r, const struct conf_line *line, struct why *why);

/* What only the whole section can tell: its kind. */
int config_settle_vpn(struct config_vpn *cv, struct why *why);

/* VPNs and networks that stand there twice, and VPNs that share an app or an interface. */
int config_check_vpns(const struct config *c, struct why *why);

/*
 * Puts the VPNs of the configuration in place of those that the model has. A VPN of the same name that was
 * made otherwise makes room; how it is stays, when its owner may go on. One that a program made and
 * that has apps of these goes.
 */
int config_apply_vpns(const struct config *c, struct model *m, const struct model *before,
                      struct why *why);

void config_vpn_done(struct config_vpn *cv);
