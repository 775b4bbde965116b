#include "api/xmp.h"

#include "api/text.h"

/* The model's name and digest have no character that XML would take for its own (core/model). */
char *xmp_packet(const struct dn_model_info *info, const char *version)
{
    struct text t = TEXT_INIT;
    text_puts(&t, "<?xpacket begin=\"\xef\xbb\xbf\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>"
                  "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">"
                  "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">"
                  "<rdf:Description rdf:about=\"\" "
                  "xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\">"
                  "<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/"
                  "trainedAlgorithmicMedia</Iptc4xmpExt:DigitalSourceType>");
    text_printf(&t, "<Iptc4xmpExt:AISystemUsed>denoised, model %s</Iptc4xmpExt:AISystemUsed>",
                info->name);
    text_printf(&t,
                "<Iptc4xmpExt:AISystemVersionUsed>denoised %s, model %s"
                "</Iptc4xmpExt:AISystemVersionUsed>",
                version, info->digest);
    text_puts(&t, "</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end=\"r\"?>");
    return text_take(&t, NULL);
}
